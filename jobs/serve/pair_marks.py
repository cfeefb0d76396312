"""What is kept of each pair so that filters and orders need no row: a few bytes, read from the shards with its number."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from jobs.review.decisions import DECISIONS, standing
from jobs.review.log import ReviewLog
from jobs.serve.committed import Committed

__all__ = ["JOBS", "KEPT", "UNDECIDED", "Marks", "PairMarks", "PairQuery"]

JOBS = {
    "curate": "curated",
    "critique": "critiques",
    "augment": "examples",
    "respond": "responses",
    "judge": "verdicts",
}
"""The jobs that may have made something of a pair, each with its dataset."""

KEPT, UNDECIDED = "kept", "undecided"

_SPLITS = ("train", "val", "both")
_UNKNOWN = 255


class PairQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. ``decision`` is "kept", "refused", "undecided" or a reason; scores are at most these.

    ``reviewed`` is "yes", "no" or what a person decided.
    """

    text: str = ""
    job: str = ""
    split: str = ""
    decision: str = ""
    reviewed: str = ""
    critic: float = 0.0
    judge: float = 0.0
    order: str = ""

    @property
    def plain(self) -> bool:
        """Whether every pair is asked for, in the order of the run: then seals alone say which are on a page."""
        return self == PairQuery()


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What is kept of the pairs of one shard, an entry of each array for each pair: 8 bytes in all.

    ``split``, ``decision`` and ``reviewed`` are numbers of names, ``jobs`` has a bit for each of `JOBS`, scores are the
    lowest, 0 where there is none.
    """

    split: NDArray[np.uint8]
    decision: NDArray[np.uint8]
    reviewed: NDArray[np.uint8]
    jobs: NDArray[np.uint8]
    critic: NDArray[np.float16]
    judge: NDArray[np.float16]


class PairMarks:
    """Reads marks and compares them. All methods block, and are safe in threads."""

    def __init__(self, committed: Mapping[str, Committed], reviews: ReviewLog) -> None:
        self._committed = committed
        self._reviews = reviews
        self._decisions = [KEPT, UNDECIDED]

    @property
    def reasons(self) -> list[str]:
        """The reasons of refusals that were seen so far."""
        return sorted(self._decisions[2:])

    def stamps(self, only: int | None = None) -> dict[int, object]:
        """The shards of pairs, or the shard `only`, each with what changes when something of its pairs does."""
        others = [self._committed[name].sums() for name in JOBS.values()]
        reviews = {int(path.stem): path.stat().st_size for path in self._reviews.folder.glob("[0-9]*.jsonl")}
        return {
            index: (sums.stamp, reviews.get(index, 0), *(each[index].stamp if index in each else 0 for each in others))
            for index, sums in self._committed["pairs"].some(only).items()
        }

    def read(self, index: int) -> Marks:
        """Those of the pairs of one shard."""
        pairs = self._committed["pairs"].rows(index, _Pair)
        number = {pair.id: row for row, pair in enumerate(pairs)}
        marks = Marks(
            split=np.array([_SPLITS.index(p.split) if p.split in _SPLITS else _UNKNOWN for p in pairs], np.uint8),
            decision=np.ones(len(pairs), np.uint8),
            reviewed=np.zeros(len(pairs), np.uint8),
            jobs=np.zeros(len(pairs), np.uint8),
            critic=np.zeros(len(pairs), np.float16),
            judge=np.zeros(len(pairs), np.float16),
        )
        for bit, dataset in enumerate(JOBS.values()):
            for row in self._committed[dataset].rows(index, _KINDS[dataset]):
                if (at := number.get(row.of)) is not None:
                    marks.jobs[at] |= 1 << bit
                    self._mark(marks, at, row)
        for pair_id, review in standing(self._reviews.rows(index)).items():
            if (at := number.get(pair_id)) is not None and review.decision in DECISIONS:
                marks.reviewed[at] = 1 + DECISIONS.index(review.decision)
        return marks

    def _mark(self, marks: Marks, at: int, row: _Of | _Ratings) -> None:
        match row:
            case _Decision():
                marks.decision[at] = self._decision(KEPT if row.kept else row.reason)
            case _Ratings():
                marks.critic[at] = min(row.grounded, row.standalone, row.useful)
            case _Verdict(correctness=float(score)):
                marks.judge[at] = min(marks.judge[at] or np.inf, score)

    def _decision(self, name: str) -> int:
        if name not in self._decisions:
            self._decisions.append(name)
        return min(self._decisions.index(name), _UNKNOWN - 1)

    def admitted(self, query: PairQuery, marks: Marks, among: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """The rows that `query` asks for, in order, of those in `among` where it is given."""
        admitted = np.ones(len(marks.split), bool)
        if query.split:
            admitted &= marks.split == _SPLITS.index(query.split)
        if query.decision == "refused":
            admitted &= marks.decision > 1
        elif query.decision:
            known = query.decision in self._decisions
            admitted &= marks.decision == (self._decisions.index(query.decision) if known else _UNKNOWN)
        if query.reviewed in ("yes", "no"):
            admitted &= (marks.reviewed > 0) == (query.reviewed == "yes")
        elif query.reviewed:
            admitted &= marks.reviewed == 1 + DECISIONS.index(query.reviewed)
        if query.job:
            admitted &= (marks.jobs >> list(JOBS).index(query.job) & 1).astype(bool)
        for most, scores in ((query.critic, marks.critic), (query.judge, marks.judge)):
            if most:
                admitted &= (scores > 0) & (scores <= most)
        if among is not None:
            chosen = np.zeros(len(admitted), bool)
            chosen[among[among < len(chosen)]] = True
            admitted &= chosen
        return np.flatnonzero(admitted).astype(np.int32)


class _Pair(msgspec.Struct, gc=False):
    id: str
    split: str


class _Of(msgspec.Struct, gc=False):
    """A row of a dataset, by the id of its pair."""

    of: str = msgspec.field(name="pair_id")


class _Decision(_Of, gc=False, kw_only=True):
    kept: bool
    reason: str


class _Ratings(msgspec.Struct, gc=False, kw_only=True):
    of: str = msgspec.field(name="parent")
    grounded: int
    standalone: int
    useful: int


class _Verdict(_Of, gc=False, kw_only=True):
    correctness: float | None


_KINDS: Mapping[str, type[_Of | _Ratings]] = {
    "curated": _Decision,
    "critiques": _Ratings,
    "examples": _Of,
    "responses": _Of,
    "verdicts": _Verdict,
}
