"""The sample of pairs on which models are compared: a number of each split, those whose id has the smallest hash.

Every model and every restart gets the same pairs; a smaller sample is part of a larger one.
"""

from __future__ import annotations

import asyncio
import heapq

from engine.datasets import Dataset
from engine.records import make_id
from jobs.records import Pair

__all__ = ["Sample", "choose"]


class Sample:
    """`size` pairs of each split of `pairs`; empty until it is drawn, when all pairs exist."""

    def __init__(self, pairs: Dataset[Pair], size: int, seed: int) -> None:
        self._pairs = pairs
        self._size = size
        self._seed = seed
        self._chosen: set[str] = set()

    async def draw(self) -> None:
        self._chosen.update(await asyncio.to_thread(choose, self._pairs, self._size, self._seed))

    def __contains__(self, pair_id: str) -> bool:
        return pair_id in self._chosen

    def stamp(self) -> str:
        """A string that changes with the sample, for a job's ``variant``."""
        return make_id(*sorted(self._chosen))


def choose(pairs: Dataset[Pair], size: int, seed: int) -> dict[str, str]:
    """The sample: each pair's id with its split. One pass over the pairs, `size` of each split in memory; blocks."""
    smallest: dict[str, list[tuple[int, str]]] = {}
    for pair in pairs.rows():
        heap = smallest.setdefault(pair.split, [])
        key = -int(make_id("sample", seed, pair.id), 16)
        if len(heap) < size:
            heapq.heappush(heap, (key, pair.id))
        else:
            heapq.heappushpop(heap, (key, pair.id))
    return {id_: split for split, heap in smallest.items() for _, id_ in heap}
