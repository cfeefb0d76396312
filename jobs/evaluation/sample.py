"""The sample of pairs on which models are compared: a number of each split, those whose id has the smallest hash.

Every model and every restart gets the same pairs; a smaller sample is part of a larger one. Pairs that a raise of the
number of questions has added come last, so those that were compared before stay in the sample. A pair that a person edits
keeps its place, because the hash is that of the generated pair; one that is rejected leaves it to the next.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.datasets import Dataset
from engine.job import Prepared
from engine.records import make_id
from jobs.records import Pair

__all__ = ["Drawn", "Sample", "choose"]


class Drawn(NamedTuple):
    """A pair of the sample: its split, and in which words it is asked (`Pair.version`)."""

    split: str
    version: str


class Sample:
    """`size` pairs of each split of `pairs`; empty until it is drawn, when all pairs exist."""

    def __init__(self, pairs: Dataset[Pair], size: int, seed: int) -> None:
        self._pairs = pairs
        self._size = size
        self._seed = seed
        self._chosen: dict[str, Drawn] = {}

    async def draw(self) -> None:
        self._chosen.update(await asyncio.to_thread(choose, self._pairs, self._size, self._seed))

    @property
    def prepared(self) -> Prepared:
        """What was drawn, for a process that draws nothing."""
        return Prepared(dump=lambda: self._chosen, load=self._load)

    def _load(self, chosen: Mapping[str, Sequence[str]]) -> None:
        self._chosen.update({id_: Drawn(split, version) for id_, (split, version) in chosen.items()})

    def __contains__(self, pair_id: str) -> bool:
        return pair_id in self._chosen

    def version(self, pair_id: str) -> str | None:
        """In which words the pair is asked now; None for a pair outside the sample."""
        drawn = self._chosen.get(pair_id)
        return None if drawn is None else drawn.version

    def stamp(self) -> str:
        """A string that changes with the sample, for a job's ``variant``."""
        return make_id(*sorted(drawn.version for drawn in self._chosen.values()))


def choose(pairs: Dataset[Pair], size: int, seed: int) -> dict[str, Drawn]:
    """The sample by pair id. One pass over the pairs, `size` of each split in memory; blocks."""
    smallest: dict[str, list[tuple[int, int, str, str]]] = {}
    for pair in pairs.rows():
        heap = smallest.setdefault(pair.split, [])
        entry = (-pair.raised, -int(make_id("sample", seed, pair.id), 16), pair.id, pair.version)
        if len(heap) < size:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return {id_: Drawn(split, version) for split, heap in smallest.items() for *_, id_, version in heap}
