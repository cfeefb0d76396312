"""Near-duplicate questions over a whole run: of two that ask the same, the first in the order of the shards is kept.

A shard is decided as a whole, after every shard before it, so a decision depends on the rows and never on timing.
Questions that share one of the hashes of `jobs.curation.near_keys` are compared exactly, so none is refused by chance. A
block of questions is decided in three steps: the hashes of the block are looked up among those of the kept questions
(`jobs.curation.near_kept`) and among each other; the pairs found are compared; and what is left, a few edges between
questions, is decided in order, since a question that is refused refuses none.

How a run is cut into blocks decides nothing but the cost. In a large run many shards that are ready make one block, so
that the kept hashes on disk are read from beginning to end, once for all of these shards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from engine.records import make_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jobs.curation.near_kept import Kept

__all__ = ["Asked", "Near", "NearQuestions"]

GATHERED_FROM = 10_000_000  # kept questions: their hashes are 4 GB on disk
BLOCK = 65_536  # questions, about
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: the id of its pair, its words, and its vector as `jobs.models.embeddings.pack` packs it."""

    id: str
    question: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The pair with the earlier question, and the cosine between the two."""

    id: str
    cosine: float


Decisions = Mapping[str, Near]
"""The near-duplicates of a shard, by id."""


class NearQuestions:
    """The questions that are kept so far, in `folder`; at `cosine` or more, two are near-duplicates."""

    def __init__(self, folder: Path, *, cosine: float) -> None:
        self._folder = folder
        self._cosine = cosine
        self._kept: Kept | None = None
        self._ahead: dict[int, tuple[str, Decisions]] = {}  # of shards decided with an earlier one, by number

    def decide(
        self,
        shard: int,
        asked: Sequence[Asked],
        kept: Callable[[int], Iterable[Asked]],
        ready: Callable[[int], Sequence[Asked] | None] = lambda _: None,
    ) -> Decisions:
        """Which of `asked`, the questions of this shard in order, are near-duplicates; blocks.

        The others are kept, and replace what is in the folder for this shard and all after it. Shards are decided in
        order. `kept` returns the questions that an earlier shard kept, and is called only if the folder lacks that shard.
        `ready` returns the questions of a later shard if they are there already, so that it can be decided with this one;
        its answer must be what this function is called with then.

        Raises `Fatal` for a disk that cannot be used, and `ValueError` for vectors of different lengths.
        """
        before = self._ahead.pop(shard, None)
        if before is not None and before[0] == _digest(asked):
            return before[1]
        self._ahead = {}
        store = self._opened()
        store.cut(shard)
        while store.shards < shard:
            self._enter_all(store, list(kept(store.shards)))
        block = {shard: asked}
        if store.count >= GATHERED_FROM:
            block |= dict(_following(shard + 1, BLOCK - len(asked), ready))
        decided = dict(zip(block, self._decided(store, block.values()), strict=True))
        self._ahead = {number: (_digest(block[number]), decided[number]) for number in block if number != shard}
        return decided[shard]

    def _opened(self) -> Kept:
        from jobs.curation.near_kept import Kept

        if self._kept is None:
            self._folder.with_name("near.sqlite3").unlink(missing_ok=True)  # what an earlier release kept them in
            self._kept = Kept(self._folder, made=f"{_VERSION} {self._cosine}")
        return self._kept

    def _enter_all(self, store: Kept, asked: Sequence[Asked]) -> None:
        """Enter the questions of a shard that was decided before."""
        vectors, hashes = self._compared_by(asked)
        store.enter([question.id for question in asked], vectors, hashes, ends=[len(asked)])

    def _decided(self, store: Kept, shards: Collection[Sequence[Asked]]) -> list[Decisions]:
        """Decide consecutive shards, and enter what they keep."""
        from jobs.curation.near_blocks import fitting, nearest

        asked, ends = [question for shard in shards for question in shard], list(accumulate(map(len, shards)))
        vectors, hashes = self._compared_by(asked)
        found: dict[int, Near] = {}
        start, open_ends = 0, ends
        while open_ends:
            end = start + fitting(hashes[:, start:])
            near = nearest(store, vectors[start:end], hashes[:, start:end], self._cosine)
            ids = [question.id for question in asked[start:end]]
            names = store.ids([other.place for other in near.values()])
            for (number, other), name in zip(near.items(), names, strict=True):
                found[start + number] = Near(id=name or ids[other.number], cosine=other.cosine)
            kept = [number for number in range(end - start) if number not in near]
            closed, open_ends = [each for each in open_ends if each <= end], [each for each in open_ends if each > end]
            places = [start + number for number in kept]
            store.enter(
                [ids[number] for number in kept],
                vectors[places],
                hashes[:, places],
                ends=[bisect_left(places, each) for each in closed],
            )
            start = end
        starts = [0, *ends[:-1]]
        return [
            {asked[place].id: found[place] for place in range(first, end) if place in found}
            for first, end in zip(starts, ends, strict=True)
        ]

    def _compared_by(self, asked: Sequence[Asked]) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
        from jobs.curation.near_keys import hashes, units

        vectors = units([question.vector for question in asked])
        return vectors, hashes(vectors, [question.question for question in asked], self._cosine)


def _digest(asked: Sequence[Asked]) -> str:
    """What changes with any of these questions."""
    return make_id(*(part for question in asked for part in (question.id, question.question, question.vector)))


def _following(
    shard: int, most: int, ready: Callable[[int], Sequence[Asked] | None]
) -> Iterator[tuple[int, Sequence[Asked]]]:
    """The shards from `shard` on that are ready, with at most `most` questions."""
    while (asked := ready(shard)) is not None and len(asked) <= most:
        yield shard, asked
        shard, most = shard + 1, most - len(asked)
