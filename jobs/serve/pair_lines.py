"""The table of pairs: search, filters and order over what is kept of each; texts are read by the page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from jobs.records import Curated, Pair, Review
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.serve.committed import Committed, Place
from jobs.serve.pair_marks import JOBS, KEPT, UNDECIDED, Marks, PairMarks, PairQuery
from jobs.serve.survey import Looked, Survey

__all__ = ["ORDERS", "PairLine", "PairLines"]

ORDERS = ("", "critic", "judge")
"""How the table may be ordered; "" is the order of the run. Scores go up: the doubtful come first."""

_SEARCHES = 4
_NONE = np.empty(0, np.int32)


class PairLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``decision`` is "kept", "undecided" or the reason of a refusal; scores are the lowest.

    ``critic`` and ``judge`` run from 1 to 5, None where there is none. ``review`` is what a person decided, if anything.
    """

    shard: int
    pair: Pair
    decision: str
    detail: str
    review: Review | None
    critic: float | None
    judge: float | None
    jobs: tuple[str, ...]


class PairLines:
    """The pairs of a run. All methods block, and are safe in threads."""

    def __init__(self, committed: Mapping[str, Committed], reviews: ReviewLog) -> None:
        self._committed = committed
        self._reviews = reviews
        self._kept = PairMarks(committed, reviews)
        self._marks = Survey(self._kept.read, self._kept.stamps)
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
        return self._kept.reasons

    def _places(self, query: PairQuery, seconds: float) -> tuple[NDArray[np.int32], Looked]:
        """The (shard, row) of each pair that was asked for, in order, of the shards that were seen so far."""
        matches, looked = None, Looked(1, 1)
        if query.text:
            search = self._search(query.text)
            looked = search.further(seconds)
            matches = search.found()
            if msgspec.structs.replace(query, text="").plain:
                return _places(list(matches.items())), looked
        seen = self._marks.further(seconds)
        looked = min(looked, seen, key=lambda each: each.seen / max(1, each.total))
        chosen = []
        for index, marks in self._marks.found().items():
            rows = self._kept.admitted(query, marks, None if matches is None else matches.get(index, _NONE))
            if len(rows):
                chosen.append((index, rows, marks))
        places = _places([(index, rows) for index, rows, _ in chosen])
        return (places[_lowest_first(query.order, chosen)] if query.order and chosen else places), looked

    def _search(self, text: str) -> Survey[NDArray[np.int32]]:
        """The search for `text`; the last few are remembered."""
        folded = text.casefold()
        if folded not in self._searches:
            self._searches[folded] = Survey(partial(self._matches, folded), self._committed["pairs"].stamps)
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
        return np.array([row for row, pair in enumerate(pairs) if folded in pair.all.casefold()], np.int32)

    def _lines(self, places: Sequence[Place]) -> list[PairLine]:
        """The lines at `places`, in their order; each shard is read once."""
        by_shard = {shard: self._shard(shard) for shard in dict.fromkeys(place.shard for place in places)}
        return [line for place in places if (line := by_shard[place.shard](place.row)) is not None]

    def _shard(self, shard: int) -> _ShardLines:
        return _ShardLines(
            shard,
            pairs=self._committed["pairs"].rows(shard, Pair),
            curated={row.pair_id: row for row in self._committed["curated"].rows(shard, Curated)},
            reviews=standing(self._reviews.rows(shard)),
            marks=self._marks.of(shard),
        )


class _ShardLines:
    """Makes the lines of one shard."""

    def __init__(
        self,
        shard: int,
        *,
        pairs: Sequence[Pair],
        curated: Mapping[str, Curated],
        reviews: Mapping[str, Review],
        marks: Marks,
    ) -> None:
        self._shard = shard
        self._pairs = pairs
        self._curated = curated
        self._reviews = reviews
        self._marks = marks

    def __call__(self, row: int) -> PairLine | None:
        if row >= min(len(self._pairs), len(self._marks.split)):  # the shard was sealed again in the meantime
            return None
        pair, marks = self._pairs[row], self._marks
        decision = self._curated.get(pair.id)
        return PairLine(
            shard=self._shard,
            pair=pair,
            decision=UNDECIDED if decision is None else KEPT if decision.kept else decision.reason,
            detail=decision.detail if decision else "",
            review=self._reviews.get(pair.id),
            critic=float(marks.critic[row]) or None,
            judge=float(marks.judge[row]) or None,
            jobs=tuple(job for bit, job in enumerate(JOBS) if marks.jobs[row] >> bit & 1),
        )


def _places(rows: Sequence[tuple[int, NDArray[np.int32]]]) -> NDArray[np.int32]:
    """The rows of each shard as (shard, row), one under the other."""
    if not rows:
        return np.empty((0, 2), np.int32)
    shards = np.concatenate([np.full(len(each), index, np.int32) for index, each in rows])
    return np.stack([shards, np.concatenate([each for _, each in rows])], axis=1)


def _lowest_first(order: str, chosen: Sequence[tuple[int, NDArray[np.int32], Marks]]) -> NDArray[np.intp]:
    """The order of the chosen rows by their score; those without one come last."""
    score = np.concatenate([(marks.critic if order == "critic" else marks.judge)[rows] for _, rows, marks in chosen])
    return np.argsort(np.where(score > 0, score, np.inf), kind="stable")


class _Texts(msgspec.Struct, gc=False):
    question: str
    answer: str
    evidence: str = ""

    @property
    def all(self) -> str:
        return f"{self.question}\n{self.answer}\n{self.evidence}"
