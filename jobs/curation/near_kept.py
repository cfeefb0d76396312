"""The questions of a run that are kept so far, on disk, found by the hashes of `jobs.curation.near_keys`.

Each question has a place: 0 is the first one kept. Hashes stand in segments, as in a log-structured merge tree: a segment
has the sorted hashes of the questions of some consecutive places, each with its place, and is at least four times as large as
the next. So there are few, each entry is merged a few times, and reading and writing go from beginning to end. Files are
mapped into memory; what is held there is the part of two segments that is merged now, one key at a time.

`state.json` is written last and says what counts: files, or ends of files, that it does not name are left over from a
kill. Where anything that it names is missing, nothing counts. All of it is made of rows, and can be deleted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.files import cut_off, make_folder, naming_the_disk, write_atomic
from jobs.curation.near_keys import KEYS

__all__ = ["Kept"]

_FILES = {"vectors.f32": "<f4", "ids": "u1", "id_ends.u64": "<u8"}


class _Segment(msgspec.Struct, frozen=True):
    """The places from `first` up to `end`."""

    first: int
    end: int


class _State(msgspec.Struct):
    """How many questions are kept up to the end of each shard, the segments, the bytes of `ids`, and what `made` them."""

    made: str
    shards: list[int]
    segments: list[_Segment]
    dimension: int = 0
    id_bytes: int = 0

    @property
    def count(self) -> int:
        return self.segments[-1].end if self.segments else 0


class Kept:
    """The kept questions in `folder`; `made` stands for the settings that decide hashes. All methods block.

    They raise `Fatal` for a disk that cannot be used.
    """

    def __init__(self, folder: Path, *, made: str) -> None:
        self._folder = folder
        self._maps: dict[_Segment, tuple[NDArray[np.uint64], NDArray[np.uint32]]] = {}
        with naming_the_disk(folder):
            self._state = self._loaded(made) or self._fresh(made)

    @property
    def shards(self) -> int:
        """How many shards, from the first, have entered what they keep."""
        return len(self._state.shards)

    @property
    def count(self) -> int:
        return self._state.count

    def cut(self, shards: int) -> None:
        """Forget all shards from number `shards` on, and what was entered of one that has not ended."""
        state = self._state
        left = state.shards[:shards]
        kept, segments = left[-1] if left else 0, []
        if left == state.shards and kept == state.count:
            return
        with naming_the_disk(self._folder):
            for segment in state.segments:
                if segment.end <= kept:
                    segments.append(segment)
                elif segment.first < kept:
                    segments.append(_Segment(segment.first, kept))
                    self._write(segments[-1], self._below(segment, kept))
            ends = self._mapped("id_ends.u64")
            id_bytes = int(ends[kept - 1]) if kept else 0
            self._commit(_State(state.made, left, segments, state.dimension, id_bytes))

    def enter(
        self, ids: Sequence[str], vectors: NDArray[np.float32], hashes: NDArray[np.uint64], *, ends: Sequence[int]
    ) -> None:
        """Add questions, after all others; `ends` says of each shard that ends here how many of them are before its end.

        Raises `ValueError` for vectors of another length than those before.
        """
        state, first = self._state, self.count
        if len(ids) and state.dimension and vectors.shape[1] != state.dimension:
            raise ValueError(f"a vector has {vectors.shape[1]} numbers, those before have {state.dimension}")
        names = [id_.encode("utf-8", "surrogatepass") for id_ in ids]
        id_ends = state.id_bytes + np.cumsum([len(name) for name in names], dtype="<u8")
        segments = list(state.segments)
        with naming_the_disk(self._folder):
            if len(ids):
                for name, data in zip(_FILES, (vectors.tobytes(), b"".join(names), id_ends.tobytes()), strict=True):
                    _append(self._folder / name, data)
                segments.append(_Segment(first, first + len(ids)))
                order = np.argsort(hashes, axis=1, kind="stable")
                sorted_hashes = np.take_along_axis(hashes, order, axis=1)
                self._write(segments[-1], zip(sorted_hashes, (order + first).astype("<u4"), strict=True))
            while len(segments) > 1 and segments[-2].end - segments[-2].first < 2 * (
                segments[-1].end - segments[-1].first
            ):
                segments[-2:] = [self._merged(*segments[-2:])]
            entered = [*state.shards, *(first + end for end in ends)]
            dimension = vectors.shape[1] if len(ids) else state.dimension
            self._commit(
                _State(state.made, entered, segments, dimension, int(id_ends[-1]) if len(ids) else state.id_bytes)
            )

    def candidates(self, hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
        """Pairs of a column of `hashes` and the place of a kept question that share a hash; shape (pairs, 2).

        A pair may come several times.
        """
        orders = np.argsort(hashes, axis=1)
        for segment in self._state.segments:
            for key, (there, places) in enumerate(zip(*self._opened(segment), strict=True)):
                wanted = hashes[key][orders[key]]
                low = np.searchsorted(there, wanted)
                hits = np.flatnonzero(there[np.minimum(low, len(there) - 1)] == wanted)
                if len(hits):
                    sizes = np.searchsorted(there, wanted[hits], side="right") - low[hits]
                    ends = np.cumsum(sizes)
                    at = np.arange(ends[-1]) + np.repeat(low[hits] - (ends - sizes), sizes)
                    yield np.stack([np.repeat(orders[key][hits], sizes), places[at].astype(np.int64)], axis=1)

    def vectors(self) -> NDArray[np.float32]:
        """The vectors by place, mapped from the disk."""
        return self._mapped("vectors.f32")[: self.count * self._state.dimension].reshape(-1, self._state.dimension)

    def ids(self, places: Sequence[int]) -> list[str]:
        """The ids of the questions at these places; "" for a negative place."""
        ends, names = self._mapped("id_ends.u64"), self._mapped("ids")
        return [
            names[int(ends[place - 1]) if place else 0 : int(ends[place])].tobytes().decode("utf-8", "surrogatepass")
            if place >= 0
            else ""
            for place in places
        ]

    def _loaded(self, made: str) -> _State | None:
        """The state, if it was made so and its files are all there; what is in them beyond it is cut off."""
        try:
            state = msgspec.json.decode((self._folder / "state.json").read_bytes(), type=_State)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        there = all(_size(self._folder / name) >= size for name, size in _sizes(state).items())
        segments = [
            (path, width * (segment.end - segment.first))
            for segment in state.segments
            for path, width in self._paths(segment)
        ]
        if state.made != made or not there or any(_size(path) != KEYS * size for path, size in segments):
            return None
        self._cut_files(state)
        return state

    def _fresh(self, made: str) -> _State:
        shutil.rmtree(self._folder, ignore_errors=True)
        make_folder(self._folder)
        return _State(made, [], [])

    def _commit(self, state: _State) -> None:
        write_atomic(self._folder / "state.json", msgspec.json.encode(state))
        self._state = state
        self._cut_files(state)
        self._maps = {segment: maps for segment, maps in self._maps.items() if segment in state.segments}
        counted = {path for segment in state.segments for path, _ in self._paths(segment)}
        for path in self._folder.glob("segment-*"):
            if path not in counted:
                path.unlink()

    def _cut_files(self, state: _State) -> None:
        for name, size in _sizes(state).items():
            cut_off(self._folder / name, size)

    def _paths(self, segment: _Segment) -> list[tuple[Path, int]]:
        """The files of a segment, each with its bytes for one entry: hashes, and their places."""
        name = f"segment-{segment.first}-{segment.end}"
        return [(self._folder / f"{name}.u64", 8), (self._folder / f"{name}.u32", 4)]

    def _mapped(self, name: str) -> NDArray[Any]:
        path = self._folder / name
        return np.memmap(path, dtype=_FILES[name], mode="r") if _size(path) > 0 else np.empty(0, dtype=_FILES[name])

    def _opened(self, segment: _Segment) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Its hashes, sorted, and their places, each of shape (`KEYS`, questions), mapped from the disk."""
        if segment not in self._maps:  # kept, since each page of a new map costs a fault
            (hashes, _), (places, _) = self._paths(segment)
            maps = [np.memmap(hashes, dtype="<u8", mode="r"), np.memmap(places, dtype="<u4", mode="r")]
            one, two = (np.asarray(each).reshape(KEYS, -1) for each in maps)
            self._maps[segment] = one, two
        return self._maps[segment]

    def _below(self, segment: _Segment, kept: int) -> Iterator[_Entries]:
        """The entries of a segment with places below `kept`, key by key."""
        for hashes, places in zip(*self._opened(segment), strict=True):
            stays = places < kept
            yield hashes[stays], places[stays]

    def _merged(self, one: _Segment, two: _Segment) -> _Segment:
        """A segment of both."""
        merged = _Segment(one.first, two.end)
        self._write(merged, map(_in_order, zip(*self._opened(one), *self._opened(two), strict=True)))
        return merged

    def _write(self, segment: _Segment, entries: Iterable[_Entries]) -> None:
        (hashes, _), (places, _) = self._paths(segment)
        with hashes.open("wb") as hash_file, places.open("wb") as place_file:
            for some_hashes, some_places in entries:
                hash_file.write(some_hashes.data)
                place_file.write(some_places.data)
            for file in (hash_file, place_file):
                file.flush()
                os.fsync(file.fileno())


_Entries = tuple[NDArray[np.uint64], NDArray[np.uint32]]
"""The entries of one key: hashes, sorted, and their places."""


def _in_order(two: tuple[Any, Any, Any, Any]) -> _Entries:
    """The entries of two segments as those of one."""
    hashes, places, more_hashes, more_places = two
    both = np.concatenate([hashes, more_hashes])
    order = np.argsort(both, kind="stable")  # which merges what is sorted already
    return both[order], np.concatenate([places, more_places])[order]


def _sizes(state: _State) -> dict[str, int]:
    """The bytes that count of each file of `_FILES`."""
    return dict(zip(_FILES, (state.count * state.dimension * 4, state.id_bytes, state.count * 8), strict=True))


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    """Its bytes; 0 for a file that is not there."""
    return path.stat().st_size if path.exists() else 0
