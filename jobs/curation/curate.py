"""The `curate` job: one row per pair, which says whether the pair is used, and the reason if it is not.

All later jobs read only the pairs that are kept. A refused pair is a row that can be read, and no failure. This job
costs nothing: the checks that need requests (`probe`, `critique`) are jobs before it. A pair for which one of them
failed has no row until a retry succeeds.

The reason is part of an input's id. So when a shard is opened again (because a retry added an earlier pair), a new
decision replaces the old one.

Pairs that a raise of the number of questions has added are compared after all others, in whatever shard they are. So none
of them takes the place of a pair that was kept before. Then all shards must be there before the first is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.datasets import Dataset
from engine.events import Hook, RowsDropped
from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.config import Config, Curate
from jobs.curation.critique import refused
from jobs.curation.near_duplicates import Asked, Near, NearQuestions
from jobs.curation.probe import lost
from jobs.curation.rules import Fault, fault
from jobs.records import Curated, Pair, Review
from jobs.registry import REVIEWS
from jobs.review.decisions import used

__all__ = ["Curator", "KeptPairs", "kept_pairs", "rejections"]


class Curator:
    """Decides which pairs are used; `hook` gets an event for those that are refused. It reads and writes `datasets`.

    ``raised`` says whether the number of questions was raised in this run.
    """

    def __init__(
        self, *, settings: Curate, datasets: Mapping[str, Dataset[Any]], hook: Hook, raised: bool = False
    ) -> None:
        self._settings = settings
        self._raised = raised and settings.near_duplicates
        self._by_raise: dict[str, Near] | None = None
        self._datasets = datasets
        self._hook = hook
        beside = [*(["probes"] if settings.embeds else []), *(["critiques"] if settings.critic else [])]
        self._reads = ("pairs", *beside)
        folder = datasets["curated"].folder
        self._near = NearQuestions(folder / "near", cosine=settings.near_duplicate_cosine)

    def job(self, *, fingerprint: Mapping[str, Any]) -> Job:
        """The job that writes one row for each pair for which every check succeeded."""
        return Job(
            name="curate",
            reads=self._reads,
            writes="curated",
            row=Curated,
            expand=self.expand,
            process=self.process,
            origin=lambda row: row.id,
            waits_for=("answer", "probe", "critique") if self._raised else (),
            head=True,
            fingerprint=fingerprint,
        )

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        judged = list(_judged(shard, self._settings))
        repeated = self._repeated(shard, judged) if self._settings.near_duplicates else {}
        for pair, found in judged:
            row = _row(pair, found or repeated.get(pair.id))
            yield Item(id=row.id, value=row)

    async def process(self, row: Curated, call: Call) -> Sequence[Record]:
        if not row.kept:
            self._hook(RowsDropped(job="curate", reasons={row.reason: 1}))
        return [row]

    def _repeated(self, shard: ShardRows, judged: Iterable[tuple[Pair, Fault | None]]) -> dict[str, Fault]:
        asked = _asked(shard, judged)
        if self._raised:
            found = self._by_raise = self._by_raise or self._decided_by_raise()
            decided: Mapping[str, Near] = {
                question.id: found[question.id] for question in asked if question.id in found
            }
        else:
            decided = self._near.decide(shard.index, asked, self._kept, self._ready)
        return {
            id_: Fault(
                reason="near_duplicate", detail=f"cosine {other.cosine:.3f} with the question of pair {other.id}"
            )
            for id_, other in decided.items()
        }

    def _decided_by_raise(self) -> dict[str, Near]:
        """The near-duplicates of the run, when the shards are decided once for the pairs of each raise."""
        found: dict[str, Near] = {}
        numbers = self._datasets["pairs"].sealed()
        raised, highest, place = 0, 0, 0
        while raised <= highest:
            for index in numbers:
                shard = ShardRows(index, {name: self._datasets[name].read(index) for name in self._reads})
                highest = max([highest, *(pair.raised for pair in shard["pairs"])])
                judged = ((pair, fault) for pair, fault in _judged(shard, self._settings) if pair.raised == raised)
                found.update(self._near.decide(place, _asked(shard, judged), lambda _: ()))
                place += 1
            raised += 1
        return found

    def _kept(self, index: int) -> Iterator[Asked]:
        """The questions that a sealed shard kept."""
        vectors = {row.parent: row.vector for row in self._datasets["probes"].read(index)}
        for row in self._datasets["curated"].read(index):
            if row.kept and row.pair_id in vectors:
                yield Asked(id=row.pair_id, question=row.question, vector=vectors[row.pair_id])

    def _ready(self, index: int) -> list[Asked] | None:
        """The questions of a shard that is to be decided, if all that is read of it is sealed."""
        inputs = [self._datasets[name] for name in self._reads]
        if self._datasets["curated"].shard(index).done.exists() or not all(
            dataset.shard(index).done.exists() for dataset in inputs
        ):
            return None
        shard = ShardRows(index, {dataset.name: dataset.read(index) for dataset in inputs})
        return _asked(shard, _judged(shard, self._settings))


class KeptPairs(Dataset[Pair]):
    """The dataset of pairs that are used: without those that curation, or a person, refused, and in the person's words.

    None stands for a run that is not curated, or not reviewed.
    """

    def __init__(
        self, pairs: Dataset[Pair], curated: Dataset[Curated] | None, reviews: Dataset[Review] | None = None
    ) -> None:
        super().__init__(pairs.folder, Pair)
        self._curated = curated
        self._reviews = reviews

    def read(self, index: int) -> list[Pair]:
        curated, reviews = self._curated, self._reviews
        kept = None if curated is None else {row.pair_id for row in curated.read(index) if row.kept}
        return list(used(super().read(index), kept, () if reviews is None else reviews.read(index)))


def kept_pairs(datasets: Mapping[str, Dataset[Any]], config: Config) -> Dataset[Pair]:
    """The pairs that are used: all pairs if nothing is curated or reviewed, or if they are from a file."""
    curated = datasets["curated"] if config.curate.on and not config.evaluate.pairs else None
    reviews = datasets.get(REVIEWS)
    return datasets["pairs"] if curated is None and reviews is None else KeptPairs(datasets["pairs"], curated, reviews)


def rejections(curated: Dataset[Curated]) -> dict[str, int]:
    """How many pairs were refused, by reason; blocks."""
    return dict(sorted(Counter(row.reason for row in curated.rows() if not row.kept).items()))


def _judged(shard: ShardRows, settings: Curate) -> Iterator[tuple[Pair, Fault | None]]:
    """Each pair with the results of its own checks; pairs for which a check failed are left out."""
    probes = {row.parent: row for row in shard.get("probes", [])}
    critiques = {row.parent: row for row in shard.get("critiques", [])}
    for pair in shard["pairs"]:
        found = fault(pair.question, pair.answer, settings)
        if found is None and settings.embeds:
            if pair.id not in probes:
                continue
            found = lost(probes[pair.id], settings)
        if found is None and settings.critic:
            if pair.id not in critiques:
                continue
            found = refused(critiques[pair.id], settings)
        yield pair, found


def _asked(shard: ShardRows, judged: Iterable[tuple[Pair, Fault | None]]) -> list[Asked]:
    """The questions that passed their own checks, in order."""
    vectors = {row.parent: row.vector for row in shard["probes"]}
    return [Asked(id=pair.id, question=pair.question, vector=vectors[pair.id]) for pair, found in judged if not found]


def _row(pair: Pair, found: Fault | None) -> Curated:
    reason, detail = (found.reason, found.detail) if found else ("", "")
    return Curated(
        id=make_id("curated", pair.id, reason, detail),
        parent=pair.id,
        pair_id=pair.id,
        chunk_id=pair.chunk_id,
        paper_id=pair.paper_id,
        question=pair.question,
        answer=pair.answer,
        kept=found is None,
        reason=reason,
        detail=detail,
        split=pair.split,
    )
