"""A block of questions, decided against the kept ones and among themselves: see `jobs.curation.near_duplicates`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.curation.near_kept import Kept
from jobs.curation.near_keys import cosines

__all__ = ["Earlier", "fitting", "nearest"]

MOST_PAIRS = 8_000_000
FEWEST = 1_024  # questions of a block, however many pairs they make
COMPARED = 16_384  # pairs at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The nearest earlier question that is kept: by its place among those kept before, or by its number in the block."""

    cosine: float
    place: int = -1
    number: int = -1


def fitting(hashes: NDArray[np.uint64]) -> int:
    """How many questions, from the first, make a block: with at most `MOST_PAIRS` among them, where that can be."""
    count = int(hashes.shape[1])
    while (
        count > FEWEST
        and len(hashes) * count * count > MOST_PAIRS
        and sum(map(_pairs_sharing, hashes[:, :count])) > MOST_PAIRS
    ):
        count = max(FEWEST, count // 2)
    return count


def nearest(store: Kept, vectors: NDArray[np.float32], hashes: NDArray[np.uint64], cosine: float) -> dict[int, Earlier]:
    """Which questions of a block are near-duplicates, by number, each with the nearest question that is kept.

    Of equally near ones it is the first. `vectors` has the shape (questions, dimension), `hashes` (keys, questions).
    """
    found: dict[int, Earlier] = {}
    if store.count:
        kept = _edges(store.candidates(hashes), vectors, store.vectors(), cosine)
        for number, place, near in kept:
            found.setdefault(number, Earlier(cosine=near, place=place))
    for number, other, near in _edges(map(_sharing, hashes), vectors, vectors, cosine):
        if other not in found and (number not in found or near > found[number].cosine):
            found[number] = Earlier(cosine=near, number=other)
    return found


def _edges(
    candidates: Iterable[NDArray[np.int64]],
    vectors: NDArray[np.float32],
    others: NDArray[np.float32],
    cosine: float,
) -> Iterator[tuple[int, int, float]]:
    """The pairs of a question and another that are near enough, by question; the nearest first, then the earliest."""
    pairs = _distinct(candidates)
    found = []
    for start in range(0, len(pairs), COMPARED):
        some = pairs[start : start + COMPARED]
        near, exact = cosines(vectors[some[:, 0]], others[some[:, 1]], cosine)
        found.append((some[near], exact))
    if found:
        numbers, near = np.concatenate([pair for pair, _ in found]), np.concatenate([each for _, each in found])
        order = np.lexsort((numbers[:, 1], -near, numbers[:, 0]))
        yield from zip(numbers[order, 0].tolist(), numbers[order, 1].tolist(), near[order].tolist(), strict=True)


def _distinct(candidates: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Each pair once, in order; shape (pairs, 2)."""
    gathered: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    size = 0
    for pairs in candidates:
        gathered.append((pairs[:, 0] << 32) | pairs[:, 1])
        size += len(pairs)
        if size > MOST_PAIRS:
            gathered = [np.unique(np.concatenate(gathered))]
            size = len(gathered[0]) // 2  # so that it is not made distinct for every few more
    found = np.unique(np.concatenate(gathered))
    return np.stack([found >> 32, found & 0xFFFFFFFF], axis=1)


def _pairs_sharing(hashes: NDArray[np.uint64]) -> int:
    """How many pairs share one of these hashes."""
    _, sizes = np.unique(hashes, return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())


def _sharing(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The pairs that share a hash, each as the number of the later one and of the earlier one; shape (pairs, 2)."""
    order = np.argsort(hashes, kind="stable")
    _, firsts, sizes = np.unique(hashes[order], return_index=True, return_counts=True)
    before = np.arange(len(order)) - np.repeat(firsts, sizes)  # how many in its group are earlier
    ends = np.cumsum(before)
    at = np.arange(int(before.sum())) + np.repeat(np.repeat(firsts, sizes) - (ends - before), before)
    return np.stack([np.repeat(order, before), order[at]], axis=1)
