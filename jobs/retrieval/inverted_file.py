"""An inverted file over unit vectors on disk (IVF-Flat; Jégou et al. 2011): a search compares the vectors of a few cells.

The cells are found by k-means, `CELLS` × √(vectors) of them. Vectors are stored cell by cell, whole, and are mapped into
memory rather than read into it. Centroids are grouped, so that a vector need not be compared with all of them to find its
cell, and the cost of a vector hardly grows with their number.

The same vectors in the same order make the same file, and a search gives the same answer, alone or among others:
- nothing is drawn at random: k-means begins with vectors taken at equal distances, and learns from vectors so taken;
- what a vector's cell is, is computed in float64, where the order of a sum does not show;
- a search ranks centroids and vectors in float32 first; those that may be among the nearest are ranked again in float64,
  one sum for each, so what else is searched for in the same pass does not matter.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "InvertedFile", "unit"]

CELLS = 8
CELLS_A_GROUP = 32
GROUPS_TRIED = 16  # in which a vector looks for its cell
PROBED, MOST_PROBED = 16, 128  # cells
COMPARED = 4_096  # vectors that a search compares, within MOST_PROBED cells
ROUNDS = 8
LEARNED = 64  # vectors, for each centroid
BLOCK = 16_384
ALONE = 8  # fewer searches than this in a pass are not worth threads, BLAS's or ours
THREADS = 8
SLACK = 4e-6
"""Cosines that are further apart than this keep their order from float32 to float64, rounded to 6 places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One vector that was found: its number in the order in which they were given, and its cosine, to 6 places."""

    row: int
    cosine: float


class InvertedFile:
    """The inverted file in `folder`, opened for searches. Make one with `InvertedFile.build`."""

    def __init__(self, folder: Path) -> None:
        self._cells: NDArray[np.float32] = np.load(folder / "cells.npy")
        self._first_rows: NDArray[np.int64] = np.load(folder / "first_rows.npy")
        self._vectors = np.memmap(folder / "vectors.f32", dtype="<f4", mode="r").reshape(-1, self._cells.shape[1])
        self._rows = np.memmap(folder / "rows.i64", dtype="<i8", mode="r")
        self._marks = np.memmap(folder / "marks.u8", dtype="u1", mode="r")

    @classmethod
    def build(cls, folder: Path, vectors: NDArray[np.float32], marks: NDArray[np.uint8]) -> InvertedFile:
        """Write the file of `vectors`, shape (vectors, dimension), each of length 1; `marks` has a number for each.

        Blocks. `vectors` may be mapped from a file: it is read in order. In memory are blocks, centroids, and 8 bytes for
        each vector of the largest group; the disk holds a second copy of the vectors until the end.
        """
        folder.mkdir(parents=True)
        parts, dimension = folder / "parts", vectors.shape[1]
        wanted = max(1, round(CELLS * len(vectors) ** 0.5))
        count = max(1, round(wanted / CELLS_A_GROUP))
        groups = _centroids(_spread(vectors, LEARNED * count), count)
        learned = vectors[::4]
        _deal(parts, learned, np.zeros(len(learned), dtype="u1"), lambda block: _nearest_group(block, groups))
        cells = [_learned(parts / str(number), dimension, -(-wanted // count)) for number in range(len(groups))]
        shutil.rmtree(parts)
        _deal(parts, vectors, marks, lambda block: _nearest_cell(block, groups, cells))
        sizes = [_divide(folder, parts / str(number), dimension, len(cells[number])) for number in range(len(groups))]
        shutil.rmtree(parts)
        np.save(folder / "cells.npy", np.concatenate(cells).astype("<f4"))
        np.save(folder / "first_rows.npy", np.cumsum([0, *np.concatenate(sizes)], dtype="<i8"))
        return cls(folder)

    def search(
        self, vectors: Sequence[Sequence[float]], *, top_k: int, without: int | None = None
    ) -> list[list[Found]]:
        """For each of `vectors` the `top_k` nearest of those compared, nearest first, equal ones in the order given.

        Blocks. The cells whose centroids are nearest are compared: `PROBED`, or as many as hold `COMPARED` vectors. All
        vectors are compared where these have fewer than `top_k` with another mark than `without`.
        """
        asked = unit(np.asarray(vectors, dtype=np.float64))
        rough = asked.astype(np.float32)
        alone = len(asked) < ALONE
        near = np.stack([_dots(self._cells, at) for at in rough]) if alone else rough @ self._cells.T

        def one(number: int) -> list[Found]:
            at = asked[number]
            found = self._nearest(at, self._near(at, near[number]), top_k, without)
            if len(found) >= min(top_k, len(self._rows)):
                return found
            return self._nearest(at, np.arange(len(self._rows)), top_k, without)

        if alone:
            return list(map(one, range(len(asked))))
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
            return list(threads.map(one, range(len(asked))))

    def _near(self, at: NDArray[np.float64], rough: NDArray[np.float32]) -> NDArray[np.int64]:
        """The places of the vectors in the nearest cells, sorted; `rough` has the nearness of each centroid."""
        cells = _greatest(rough, MOST_PROBED)
        order = cells[np.argsort(-_dots(self._cells[cells].astype(np.float64), at), kind="stable")][:MOST_PROBED]
        sizes = self._first_rows[order + 1] - self._first_rows[order]
        probed = np.sort(order[: max(PROBED, int(np.searchsorted(np.cumsum(sizes), COMPARED)) + 1)])
        ranges = [np.arange(self._first_rows[cell], self._first_rows[cell + 1]) for cell in probed]
        return np.concatenate(ranges)

    def _nearest(
        self, at: NDArray[np.float64], places: NDArray[np.int64], top_k: int, without: int | None
    ) -> list[Found]:
        """The nearest of the vectors at `places`, which are sorted."""
        if without is not None:
            places = places[self._marks[places] != without]
        if not len(places):
            return []
        rough = np.concatenate([_dots(self._vectors[part], at.astype(np.float32)) for part in _slices(places)])
        places = places[_greatest(rough, top_k)]
        cosines = np.round(_dots(self._vectors[places].astype(np.float64), at), 6)
        order = np.lexsort((self._rows[places], -cosines))[:top_k]
        return [Found(row=int(self._rows[places[each]]), cosine=float(cosines[each])) for each in order]


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """`vectors`, shape (vectors, dimension), at length 1; one of zeros stays so."""
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)  # squares of tiny parts would vanish
    scaled: NDArray[np.float64] = np.divide(vectors, np.where(largest > 0, largest, 1.0), dtype=np.float64)
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    scaled /= np.where(lengths > 0, lengths, 1.0)
    return scaled


def _dots(vectors: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """The product of each of `vectors` with `at`: the same sum for a vector whatever stands beside it, unlike BLAS."""
    dots: NDArray[Any] = np.einsum("ij,j->i", vectors, at)
    return dots


def _greatest(rough: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the `count` greatest stand, and all that may be among them when computed in float64; sorted."""
    least = np.partition(rough, -count)[-count] - SLACK if count < len(rough) else -np.inf
    return np.flatnonzero(rough >= least)


def _slices(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64] | slice]:
    """Sorted `places`, at most `BLOCK` at a time, as slices where many are neighbours: they need no copy."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    neighbours = len(breaks) * 16 < len(places)
    for stretch in np.split(places, breaks) if neighbours else [places]:
        for start in range(0, len(stretch), BLOCK):
            part = stretch[start : start + BLOCK]
            yield slice(int(part[0]), int(part[-1]) + 1) if neighbours else part


def _spread(vectors: NDArray[Any], most: int) -> NDArray[np.float64]:
    """At most `most` of the vectors, at equal distances."""
    places = np.linspace(0, len(vectors) - 1, min(most, len(vectors))).astype(np.int64)
    return np.asarray(vectors[places], dtype=np.float64)


def _centroids(vectors: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The directions of `count` clusters, by spherical k-means; shape (≤ count, dimension)."""
    found = _spread(vectors, count)
    for _ in range(ROUNDS):
        blocks = (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))
        nearest = np.concatenate([np.argmax(block @ found.T, axis=1) for block in blocks])
        for cluster, members in _by_number(nearest):
            found[cluster] = vectors[members].sum(axis=0)
        found = unit(found)
    return found


def _by_number(numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each number that occurs, in order, and where it does."""
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)


_Assigned = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For each vector of a block the number of its group, and that of its cell in the group."""


def _nearest_group(block: NDArray[np.float64], groups: NDArray[np.float64]) -> _Assigned:
    return np.argmax(block @ groups.T, axis=1), np.zeros(len(block), dtype=np.int64)


def _nearest_cell(
    block: NDArray[np.float64], groups: NDArray[np.float64], cells: Sequence[NDArray[np.float64]]
) -> _Assigned:
    """The nearest cell in one of the nearest groups."""
    few = min(GROUPS_TRIED, len(groups))
    tried = np.argpartition(-(block @ groups.T), few - 1, axis=1)[:, :few]
    best, group, cell = np.full(len(block), -np.inf), tried[:, 0].copy(), np.zeros(len(block), dtype=np.int64)
    for number, places in _by_number(tried.ravel()):
        rows = places // few
        if len(cells[number]):
            dots = block[rows] @ cells[number].T
            nearest = np.argmax(dots, axis=1)
            nearness = dots[np.arange(len(rows)), nearest]
            better = nearness > best[rows]
            best[rows[better]], group[rows[better]], cell[rows[better]] = nearness[better], number, nearest[better]
    return group, cell


def _deal(
    folder: Path,
    vectors: NDArray[np.float32],
    marks: NDArray[np.uint8],
    assigned: Callable[[NDArray[np.float64]], _Assigned],
) -> None:
    """Write each vector to the file of its group in `folder`, with its number, its mark and its cell."""
    folder.mkdir()
    record = _record(vectors.shape[1])
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        group, cell = assigned(block.astype(np.float64))
        written = np.empty(len(block), dtype=record)
        written["row"] = np.arange(start, start + len(block))
        written["mark"] = marks[start : start + len(block)]
        written["cell"], written["vector"] = cell, block
        for number, members in _by_number(group):
            with (folder / str(number)).open("ab") as file:
                file.write(written[members].data)


def _learned(path: Path, dimension: int, count: int) -> NDArray[np.float64]:
    """The centroids of the cells of one group; none for a group without vectors."""
    if not path.exists():
        return np.empty((0, dimension))
    part = np.memmap(path, dtype=_record(dimension), mode="r")
    return _centroids(_spread(part["vector"], LEARNED * count), count)


def _divide(folder: Path, path: Path, dimension: int, cells: int) -> NDArray[np.int64]:
    """Append the vectors of one group to the files in `folder`, cell by cell; the sizes of the cells."""
    if not path.exists():
        return np.zeros(cells, dtype=np.int64)
    part = np.memmap(path, dtype=_record(dimension), mode="r")
    order = np.argsort(part["cell"], kind="stable")
    with (
        (folder / "vectors.f32").open("ab") as vectors,
        (folder / "rows.i64").open("ab") as rows,
        (folder / "marks.u8").open("ab") as marks,
    ):
        for start in range(0, len(part), BLOCK):
            block = part[order[start : start + BLOCK]]
            for name, file in (("vector", vectors), ("row", rows), ("mark", marks)):
                file.write(np.ascontiguousarray(block[name]).data)
    path.unlink()
    return np.bincount(part["cell"], minlength=cells)


def _record(dimension: int) -> Any:
    return np.dtype([("row", "<i8"), ("cell", "<i4"), ("mark", "u1"), ("vector", "<f4", (dimension,))])
