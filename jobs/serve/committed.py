"""What is committed of one dataset, read beside the process that works on it: no lock is taken and nothing is written.

A seal is read once, and again only when its file was replaced. The folder is not even listed while it is unchanged.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.datasets import Dataset
from engine.errors import Fatal
from engine.records import decode_lines
from engine.requests import Usage
from engine.shards import Seal, total

__all__ = ["Committed", "Place", "SealSum"]

R = TypeVar("R", bound=msgspec.Struct)

_RECENT_NS = 2 * 10**9
_TRIES = 3


class SealSum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The figures of one sealed shard. ``stamp`` changes when the shard is sealed again."""

    stamp: int
    inputs: int
    rows: int
    usage: Usage
    failed: dict[str, int]


class Place(msgspec.Struct, frozen=True, gc=False):
    """Row ``row``, from 0, of shard ``shard``."""

    shard: int
    row: int


class Committed:
    """The sealed shards of one dataset. All methods block, and are safe in threads."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()
        self._sums: dict[int, SealSum] = {}
        self._open: list[int] = []
        self._whole: tuple[Mapping[int, SealSum], SealSum] | None = None
        self._changed_ns = 0
        self._listed_ns = 0

    def sums(self) -> Mapping[int, SealSum]:
        """The figures of every sealed shard, by its number, in order."""
        with self._lock:
            if (changed := self._changed()) is not None:
                listed = time.time_ns()
                journals = {_number(path) for path in self.dataset.folder.glob("*.checkpoint.jsonl")}
                self._sums = dict(sorted(self._read(self._sums)))
                self._open = sorted(journals - self._sums.keys())
                self._changed_ns, self._listed_ns = changed, listed
            return self._sums

    def whole(self) -> SealSum:
        """The sum over all sealed shards; its stamp says nothing."""
        sums = self.sums()
        if self._whole is None or self._whole[0] is not sums:
            failed = Counter[str]()
            for each in sums.values():
                failed.update(each.failed)
            self._whole = (
                sums,
                SealSum(
                    stamp=0,
                    inputs=sum(each.inputs for each in sums.values()),
                    rows=sum(each.rows for each in sums.values()),
                    usage=total(each.usage for each in sums.values()),
                    failed=dict(failed.most_common()),
                ),
            )
        return self._whole[1]

    def open(self) -> list[int]:
        """The shards with a journal and without a seal, in order."""
        self.sums()
        return self._open

    def stamp(self, index: int) -> int:
        """A number that changes when the shard is sealed again; 0 while it is open."""
        found = self.sums().get(index)
        return found.stamp if found else 0

    def some(self, only: int | None) -> Mapping[int, SealSum]:
        """`sums`, or those of the shard `only`."""
        sums = self.sums()
        if only is None:
            return sums
        return {only: sums[only]} if only in sums else {}

    def stamps(self, only: int | None = None) -> dict[int, object]:
        """The stamp of each sealed shard, or of the shard `only`."""
        return {index: sums.stamp for index, sums in self.some(only).items()}

    def window(self, first: int, count: int) -> list[Place]:
        """The places of `count` rows from the row `first` on, counted from 0 over all shards."""
        sums = self.sums()
        shards, ends = list(sums), list(accumulate(each.rows for each in sums.values()))
        places: list[Place] = []
        at = bisect_right(ends, first)
        while at < len(shards) and len(places) < count:
            start = ends[at] - sums[shards[at]].rows
            rows = range(max(0, first - start), ends[at] - start)
            places += [Place(shards[at], row) for row in rows[: count - len(places)]]
            at += 1
        return places

    def data(self, index: int) -> bytes:
        """The rows of a sealed shard; none while it is open. Raises `Fatal` for a damaged shard."""
        shard = self.dataset.shard(index)
        for again in range(_TRIES):
            seal = shard.seal()
            try:
                return b"" if seal is None else shard.read(seal)
            except Fatal:  # damaged, or opened again by the process that works on it
                if again == _TRIES - 1 or shard.seal() == seal:
                    raise
        return b""

    def rows(self, index: int, kind: type[R]) -> list[R]:
        """The rows of a sealed shard, each decoded as `kind`, which may have fewer fields than the dataset's rows."""
        return list(decode_lines(self.data(index), kind))

    def seal(self, index: int) -> Seal | None:
        return self.dataset.shard(index).seal()

    def _changed(self) -> int | None:
        """When the folder was changed, where it has to be listed; None where what is known is so still."""
        try:
            changed = self.dataset.folder.stat().st_mtime_ns
        except FileNotFoundError:
            self._sums, self._open = {}, []
            return None
        unchanged = changed == self._changed_ns and changed < self._listed_ns - _RECENT_NS
        return None if unchanged else changed

    def _read(self, known: Mapping[int, SealSum]) -> Iterator[tuple[int, SealSum]]:
        for path in self.dataset.folder.glob("*.done.json"):
            index = _number(path)
            stamp = _stamp(path)
            if (before := known.get(index)) is not None and before.stamp == stamp:
                yield index, before
            elif (seal := self.seal(index)) is not None:
                failed = dict(Counter(failure.kind for failure in seal.failures))
                yield index, SealSum(stamp=stamp, inputs=seal.inputs, rows=seal.rows, usage=seal.usage, failed=failed)


def _number(path: Path) -> int:
    return int(path.name.split(".")[0])


def _stamp(path: Path) -> int:
    """Another for each seal: it is a new file, written whole under another name."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return hash((status.st_ino, status.st_mtime_ns, status.st_size)) or 1
