"""How many questions each chunk is asked for, now and after a raise of the settings.

A cap on questions is spread evenly over all chunks, so every part of every paper has its share and no question is
generated in vain. If the cap, or the number of questions of a chunk, is raised later, what was asked stays and counts:
the rest is spread evenly over the chunks that have the fewest questions. New questions stand behind all older ones of
their shard.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.job import Item, Prepared, ShardRows
from engine.records import decode_lines
from jobs.config.generation import Ask
from jobs.generation.shares import Grant, Shares, Spread, asked_ids, item_id, read_shares, unusable, write_shares
from jobs.records import Chunk, Question

__all__ = ["RAISABLE", "Quota", "Typed", "Wanted", "is_raised"]

RAISABLE = frozenset(("questions_per_chunk", "max_questions"))
"""The settings that may be raised on a run that has questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A number of questions about a chunk, of the grant `raised`. The chunk was asked for `before` of them in earlier
    grants, which gave `existing`.

    ``types`` has the type of each question, () where none is asked for; ``second`` is the other chunk of those over two.
    """

    chunk: Chunk
    count: int
    raised: int = 0
    before: int = 0
    existing: Sequence[Question] = ()
    types: tuple[str, ...] = ()
    second: Chunk | None = None


Typed = Callable[[Wanted, Sequence[Chunk]], Wanted]
"""A function that gives what is wanted its types, and a second chunk of those of the paper."""


def is_raised(questions: Dataset[Question], settings: Ask) -> bool:
    """Whether `settings` ask for more than the run was begun with; blocks."""
    made = questions.made()
    now = {"questions_per_chunk": settings.questions_per_chunk, "max_questions": settings.max_questions}
    return made is not None and (bool(made.raised) or any(made.fingerprint.get(key) != now[key] for key in RAISABLE))


class Quota:
    """How many questions each chunk gets: ``per_chunk``, or its share of ``cap`` over all `chunks` (None: no cap).

    Only chunks that are `worth` asking about get any, and a share of the cap. `questions` are those that are there.
    `typed` gives them their types.
    """

    def __init__(
        self,
        chunks: Dataset[Chunk],
        questions: Dataset[Question],
        *,
        per_chunk: int,
        cap: int | None,
        worth: Callable[[Chunk], bool] = lambda chunk: True,
        typed: Typed = lambda wanted, paper: wanted,
    ) -> None:
        self._typed = typed
        self._chunks = chunks
        self._questions = questions
        self._per_chunk = per_chunk
        self._cap = cap
        self._worth = worth
        self._path = questions.folder / "quota.json"
        self._shares = Shares(grants=[self._grant()])

    @property
    def capped(self) -> bool:
        return self._cap is not None

    def stamp(self) -> str:
        """A string that changes with each raise, for a job's ``variant``."""
        grants = self._shares.grants
        return (
            " ".join(f"{grant.questions_per_chunk}/{grant.max_questions}" for grant in grants)
            if len(grants) > 1
            else ""
        )

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        """The questions that are wanted of a shard, those of earlier grants first; blocks."""
        chunks = list(filter(self._worth, shard["chunks"]))
        papers: defaultdict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            papers[chunk.paper_id].append(chunk)
        grants = self._shares.grants
        existing = self._existing(shard.index) if len(grants) > 1 else {}
        asked: Counter[str] = Counter()
        for number, grant in enumerate(grants):
            rest = number == len(grants) - 1 and grant.max_questions is None
            share = {} if rest else grant.share(shard.index)
            for chunk in chunks:
                count = grant.questions_per_chunk - asked[chunk.id] if rest else share.get(chunk.id, 0)
                if count > 0:
                    before = asked[chunk.id]
                    old = [row for row in existing.get(chunk.id, ()) if row.raised < number]
                    wanted = Wanted(chunk=chunk, count=count, raised=number, before=before, existing=old)
                    typed = self._typed(wanted, papers[chunk.paper_id])
                    yield Item(id=item_id(chunk.id, number), value=typed)
                    asked[chunk.id] += count

    @property
    def prepared(self) -> Prepared:
        """The grants, for a process that does not read them from their file."""
        return Prepared(dump=lambda: self._shares, load=self._load)

    def _load(self, shares: Any) -> None:
        self._shares = msgspec.json.decode(msgspec.json.encode(shares), type=Shares)

    async def prepare(self) -> None:
        """Find out what was asked, and write down what is wanted, before anything is asked.

        Raises `Fatal` when the file of shares is lost or damaged.
        """
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        made = self._questions.made()
        if made is None:
            self._shares = Shares(grants=[self._grant()])
            if self.capped:
                self._spread(self._shares)
                write_shares(self._path, self._shares)
            return
        # Where the settings are not yet those of the rows, somebody only asks what a raise would do.
        before = {key: made.fingerprint[key] for key in RAISABLE if key in made.fingerprint}
        raised = made.raised if self._grant(**before) == self._grant() else [*made.raised, before]
        if self._planned([*(self._grant(**values) for values in raised), self._grant()]) and raised == made.raised:
            write_shares(self._path, self._shares)

    def _planned(self, settings: Sequence[Grant]) -> bool:
        """Find the shares of a run that has questions; returns whether they differ from those that are written down."""
        if len(settings) == 1 and not self.capped:
            return False
        self._shares = shares = read_shares(self._path) or Shares(grants=[])
        if len(shares.grants) > len(settings):
            raise unusable(self._path, "does not fit the rows beside it")
        if len(shares.grants) == len(settings):
            return self.capped and self._spread_new(shares)
        self._questions.settle()
        self._raise(shares, settings) if len(settings) > 1 else self._find(shares)
        return True

    def _grant(self, **values: Any) -> Grant:
        return Grant(**{"questions_per_chunk": self._per_chunk, "max_questions": self._cap, **values})

    def _find(self, shares: Shares) -> None:
        """The grant of a run with a cap that an earlier release began: what it gave its sealed shards stays."""
        shares.grants = [self._grant()]
        self._spread(shares)
        for shard in self._questions.sealed():
            share = shares.last.share(shard)
            asked = asked_ids(self._questions, shard)
            shares.last.give(shard, {id_: share.get(id_) or max(1, rows) for id_, rows in asked.items()})

    def _raise(self, shares: Shares, settings: Sequence[Grant]) -> None:
        """Close the last grant with what was asked in it, and add a grant that gives the difference."""
        shares.grants = shares.grants or [settings[0]]
        closed, grant = len(shares.grants) - 1, shares.last
        for shard in sorted({*range(len(grant.shares)), *self._questions.numbers()}):
            before, share, given = shares.given(shard, before=closed), grant.share(shard), {}
            for id_, rows in asked_ids(self._questions, shard).items():
                chunk_id, _, number = id_.partition(".")
                if int(number or 0) > closed:
                    raise unusable(self._path, "is missing or too old")
                if int(number or 0) == closed:
                    all_of_it = grant.questions_per_chunk - before[chunk_id]
                    given[chunk_id] = share.get(chunk_id, max(1, rows)) if grant.max_questions else all_of_it
            grant.give(shard, given)
        shares.grants += settings[len(shares.grants) :]
        if self.capped:
            self._spread(shares)

    def _spread(self, shares: Shares) -> None:
        """Let the last grant give what the cap allows besides what earlier grants gave."""
        sizes = [seal.rows for seal in self._chunks.seals()]
        standing: Counter[int] = Counter()
        for shard in range(len(sizes)):
            given = shares.given(shard)
            standing.update(given[chunk.id] for chunk in self._worthy(shard))
        more = (self._cap or 0) - sum(count * chunks for count, chunks in standing.items())
        spread = Spread(standing, more, most=self._per_chunk)
        for shard in range(len(sizes)):
            given = shares.given(shard)
            shares.last.give(shard, {chunk.id: spread(given[chunk.id]) for chunk in self._worthy(shard)})
        shares.chunks = sizes

    def _spread_new(self, shares: Shares) -> bool:
        """Give chunks that came later their share, as if all chunks were new; returns whether there are any."""
        sizes = [seal.rows for seal in self._chunks.seals()]
        if sizes == shares.chunks:
            return False
        total = sum(sum(1 for _ in self._worthy(shard)) for shard in range(len(sizes)))
        spread = Spread({0: total}, self._cap or 0, most=self._per_chunk)
        for shard, size in enumerate(sizes):
            share = {chunk.id: spread(0) for chunk in self._worthy(shard)}
            if shard < len(shares.chunks) and size != shares.chunks[shard]:
                given = shares.given(shard)
                more = sum(share.values()) - sum(given[id_] for id_ in share)
                lacking = [id_ for id_ in share if not given[id_]]
                among = Spread({0: len(lacking)}, more, most=self._per_chunk)
                share = {**shares.last.share(shard), **{id_: among(0) for id_ in lacking}}
            if shard >= len(shares.chunks) or size != shares.chunks[shard]:
                shares.last.give(shard, share)
        shares.chunks = sizes
        return True

    def _worthy(self, shard: int) -> Iterator[Chunk]:
        return filter(self._worth, self._chunks.read(shard))

    def _existing(self, shard: int) -> Mapping[str, Sequence[Question]]:
        """The questions of an open shard that are on disk, by chunk, those of earlier grants first."""
        files = self._questions.shard(shard)
        entries = files.peek()
        if not entries:
            return {}
        found: defaultdict[str, list[Question]] = defaultdict(list)
        order = {entry.id: place for place, entry in enumerate(entries) if entry.id}
        for _, lines in files.committed(files.data.read_bytes(), entries, order):
            for row in decode_lines(lines, Question):
                found[row.chunk_id].append(row)
        return {chunk_id: sorted(rows, key=lambda row: row.raised) for chunk_id, rows in found.items()}
