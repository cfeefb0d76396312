"""The table of pairs: which of them a filter asks for, from a few bytes that are kept for each; texts are read by the page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from jobs.records import Curated, Pair
from jobs.serve.committed import Committed, Place
from jobs.serve.survey import Looked, Survey

__all__ = ["JOBS", "ORDERS", "PairLine", "PairLines", "PairQuery"]

JOBS = {
    "curate": "curated",
    "critique": "critiques",
    "augment": "examples",
    "respond": "responses",
    "judge": "verdicts",
}
"""The jobs that may have made something of a pair, each with its dataset."""

ORDERS = ("", "critic", "judge")
"""How the table may be ordered; "" is the order of the run. Scores go up: the doubtful come first."""

_SPLITS = ("train", "val", "both")
_KEPT, _UNDECIDED = "kept", "undecided"
_SEARCHES = 4


class PairLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``decision`` is "kept", "undecided" or the reason of a refusal; scores are the lowest.

    ``critic`` and ``judge`` run from 1 to 5, None where there is none.
    """

    shard: int
    pair: Pair
    decision: str
    detail: str
    critic: float | None
    judge: float | None
    jobs: tuple[str, ...]


class PairQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. ``decision`` is "kept", "refused", "undecided" or a reason; scores are at most these."""

    text: str = ""
    job: str = ""
    split: str = ""
    decision: str = ""
    critic: float = 0.0
    judge: float = 0.0
    order: str = ""

    @property
    def plain(self) -> bool:
        """Whether every pair is asked for, in the order of the run: then seals alone say which are on a page."""
        return self == PairQuery()


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What is kept of the pairs of one shard, an entry of each array for each pair: 7 bytes in all.

    ``split`` and ``decision`` are numbers of names, ``jobs`` has a bit for each of `JOBS`, scores are the lowest, 0 where
    there is none.
    """

    split: NDArray[np.uint8]
    decision: NDArray[np.uint8]
    jobs: NDArray[np.uint8]
    critic: NDArray[np.float16]
    judge: NDArray[np.float16]


class PairLines:
    """The pairs of a run. All methods block, and are safe in threads."""

    def __init__(self, committed: Mapping[str, Committed]) -> None:
        self._committed = committed
        self._decisions = [_KEPT, _UNDECIDED]
        self._marks = Survey(self._read_marks, self._stamps)
        self._searches: OrderedDict[str, Survey[NDArray[np.int32]]] = OrderedDict()

    def page(self, query: PairQuery, first: int, count: int, seconds: float) -> tuple[list[PairLine], int, Looked]:
        """The lines from `first` on, how many there are of the query so far, and how many shards were looked at."""
        pairs = self._committed["pairs"]
        if query.plain:
            return self._lines(pairs.window(first, count)), pairs.whole().rows, Looked(1, 1)
        places, looked = self._places(query, seconds)
        shown = [Place(int(shard), int(row)) for shard, row in places[first : first + count]]
        return self._lines(shown), len(places), looked

    def reasons(self) -> list[str]:
        """The reasons of refusals that were seen so far."""
        return sorted(self._decisions[2:])

    def _places(self, query: PairQuery, seconds: float) -> tuple[NDArray[np.int32], Looked]:
        """The (shard, row) of each pair that was asked for, in order, of the shards that were seen so far."""
        searched = self._search(query.text) if query.text else None
        looked = searched.further(seconds) if searched else Looked(1, 1)
        matches = searched.found() if searched else None
        if not query.text or msgspec.structs.replace(query, text="") != PairQuery():
            looked = min(looked, self._marks.further(seconds / 2), key=lambda each: each.seen / max(1, each.total))
            chosen = [
                (index, rows, marks)
                for index, marks in self._marks.found().items()
                if len(rows := self._admitted(query, marks, None if matches is None else matches.get(index, _NONE)))
            ]
            places = _paired([(index, rows) for index, rows, _ in chosen])
            if query.order:
                scores = [getattr(marks, query.order)[rows] for _, rows, marks in chosen]
                score = np.concatenate(scores) if scores else np.empty(0, np.float16)
                places = places[np.argsort(np.where(score > 0, score, np.inf), kind="stable")]
            return places, looked
        return _paired(list((matches or {}).items())), looked

    def _admitted(self, query: PairQuery, marks: Marks, among: NDArray[np.int32] | None) -> NDArray[np.int32]:
        admitted = np.ones(len(marks.split), bool)
        if query.split:
            admitted &= marks.split == (_SPLITS.index(query.split) if query.split in _SPLITS else 255)
        if query.decision == "refused":
            admitted &= marks.decision > 1
        elif query.decision:
            known = self._decisions.index(query.decision) if query.decision in self._decisions else 255
            admitted &= marks.decision == known
        if query.job:
            admitted &= (marks.jobs >> list(JOBS).index(query.job) & 1).astype(bool)
        for score in ("critic", "judge"):
            if most := getattr(query, score):
                admitted &= (getattr(marks, score) > 0) & (getattr(marks, score) <= most)
        if among is not None:
            chosen = np.zeros(len(admitted), bool)
            chosen[among[among < len(chosen)]] = True
            admitted &= chosen
        return np.flatnonzero(admitted).astype(np.int32)

    # What is read.

    def _stamps(self) -> dict[int, object]:
        stamps = [self._committed[name].sums() for name in JOBS.values()]
        return {
            index: (sums.stamp, *(each[index].stamp if index in each else 0 for each in stamps))
            for index, sums in self._committed["pairs"].sums().items()
        }

    def _read_marks(self, index: int) -> Marks:
        pairs = self._committed["pairs"].rows(index, _Pair)
        number = {pair.id: row for row, pair in enumerate(pairs)}
        marks = Marks(
            split=np.fromiter((_SPLITS.index(p.split) if p.split in _SPLITS else 254 for p in pairs), np.uint8),
            decision=np.ones(len(pairs), np.uint8),
            jobs=np.zeros(len(pairs), np.uint8),
            critic=np.zeros(len(pairs), np.float16),
            judge=np.zeros(len(pairs), np.float16),
        )
        for bit, dataset in enumerate(JOBS.values()):
            for row in self._committed[dataset].rows(index, _KINDS[dataset]):
                at = number.get(row.of)
                if at is None:
                    continue
                marks.jobs[at] |= 1 << bit
                if isinstance(row, _Decision):
                    marks.decision[at] = self._decision(_KEPT if row.kept else row.reason)
                elif isinstance(row, _Ratings):
                    marks.critic[at] = min(row.grounded, row.standalone, row.useful)
                elif isinstance(row, _Verdict) and row.correctness is not None:
                    marks.judge[at] = min(marks.judge[at] or np.inf, row.correctness)
        return marks

    def _decision(self, name: str) -> int:
        if name not in self._decisions:
            self._decisions.append(name)
        return min(self._decisions.index(name), 253)

    def _search(self, text: str) -> Survey[NDArray[np.int32]]:
        """The search for `text`; the last few are remembered."""
        folded = text.casefold()
        if folded not in self._searches:
            stamps = self._committed["pairs"].sums
            self._searches[folded] = Survey(
                partial(self._matches, folded), lambda: {index: sums.stamp for index, sums in stamps().items()}
            )
        self._searches.move_to_end(folded)
        while len(self._searches) > _SEARCHES:
            self._searches.popitem(last=False)
        return self._searches[folded]

    def _matches(self, folded: str, index: int) -> NDArray[np.int32]:
        """The rows whose question, answer or evidence holds `folded`, without regard to capitals."""
        data = self._committed["pairs"].data(index)
        written = msgspec.json.encode(folded).decode()[1:-1]
        if written not in data.decode("utf-8", "replace").casefold():
            return _NONE
        pairs = self._committed["pairs"].rows(index, _Texts)
        rows = [row for row, pair in enumerate(pairs) if folded in pair.all.casefold()]
        return np.array(rows, np.int32)

    def _lines(self, places: list[Place]) -> list[PairLine]:
        lines = []
        for shard in dict.fromkeys(place.shard for place in places):
            pairs = self._committed["pairs"].rows(shard, Pair)
            curated = {row.pair_id: row for row in self._committed["curated"].rows(shard, Curated)}
            marks = self._marks.of(shard)
            for row in (place.row for place in places if place.shard == shard):
                if row >= min(len(pairs), len(marks.split)):
                    continue
                decision = curated.get(pairs[row].id)
                lines.append(
                    PairLine(
                        shard=shard,
                        pair=pairs[row],
                        decision=_UNDECIDED if decision is None else _KEPT if decision.kept else decision.reason,
                        detail=decision.detail if decision else "",
                        critic=float(marks.critic[row]) or None,
                        judge=float(marks.judge[row]) or None,
                        jobs=tuple(job for bit, job in enumerate(JOBS) if marks.jobs[row] >> bit & 1),
                    )
                )
        return lines


_NONE = np.empty(0, np.int32)


def _paired(
    rows: list[tuple[int, NDArray[np.int32]]],
) -> NDArray[np.int32]:
    if not rows:
        return np.empty((0, 2), np.int32)
    shards = np.concatenate([np.full(len(each), index, np.int32) for index, each in rows])
    return np.stack([shards, np.concatenate([each for _, each in rows])], axis=1)


class _Pair(msgspec.Struct, gc=False):
    id: str
    split: str


class _Texts(msgspec.Struct, gc=False):
    question: str
    answer: str
    evidence: str = ""

    @property
    def all(self) -> str:
        return f"{self.question}\n{self.answer}\n{self.evidence}"


class _Decision(msgspec.Struct, gc=False):
    kept: bool
    reason: str
    of: str = msgspec.field(name="pair_id")


class _Ratings(msgspec.Struct, gc=False):
    grounded: int
    standalone: int
    useful: int
    of: str = msgspec.field(name="parent")


class _OfPair(msgspec.Struct, gc=False):
    of: str = msgspec.field(name="pair_id")


class _Verdict(msgspec.Struct, gc=False):
    correctness: float | None
    of: str = msgspec.field(name="pair_id")


_KINDS: Mapping[str, type[_Decision | _Ratings | _OfPair | _Verdict]] = {
    "curated": _Decision,
    "critiques": _Ratings,
    "examples": _OfPair,
    "responses": _OfPair,
    "verdicts": _Verdict,
}
