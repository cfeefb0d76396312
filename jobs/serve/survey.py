"""Looking at every shard once, a slice of them in each request, and remembering what was seen.

What needs a look at all rows (a search, a sort, a filter) is answered from the shards that were seen so far. Each request
looks at further ones for a bounded time, and its page asks again until all are seen. So nothing runs while nobody looks,
and no second database is kept: memory holds a few bytes a row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

__all__ = ["Looked", "Survey"]

T = TypeVar("T")


class Looked(msgspec.Struct, frozen=True):
    """How many of the ``total`` shards were ``seen``."""

    seen: int
    total: int

    @property
    def whole(self) -> bool:
        return self.seen >= self.total


class Survey(Generic[T]):
    """What `read` finds in each shard. `stamps` gives the shards that are there, or one of them, with what changes when

    one does.

    All methods block, and are safe in threads.
    """

    def __init__(self, read: Callable[[int], T], stamps: Callable[[int | None], Mapping[int, object]]) -> None:
        self._read = read
        self._stamps = stamps
        self._seen: dict[int, tuple[object, T]] = {}
        self._lock = threading.Lock()

    def of(self, index: int) -> T:
        """What is in shard `index`, read now if it was not, or was another."""
        return self._look(index, self._stamps(index).get(index))

    def further(self, seconds: float) -> Looked:
        """Look at shards that were not seen yet for about `seconds`."""
        with self._lock:
            stamps, ends_at = self._stamps(None), time.monotonic() + seconds
            for gone in self._seen.keys() - stamps.keys():
                del self._seen[gone]
            for index in [each for each, stamp in stamps.items() if not self._knows(each, stamp)]:
                self._look(index, stamps[index])
                if time.monotonic() >= ends_at:
                    break
            return Looked(sum(self._knows(index, stamp) for index, stamp in stamps.items()), len(stamps))

    def found(self) -> dict[int, T]:
        """What was found so far, by shard, in order."""
        return {index: found for index, (_, found) in sorted(self._seen.copy().items())}

    def _knows(self, index: int, stamp: object) -> bool:
        seen = self._seen.get(index)
        return seen is not None and seen[0] == stamp

    def _look(self, index: int, stamp: object) -> T:
        seen = self._seen.get(index)
        if seen is None or seen[0] != stamp:
            seen = (stamp, self._read(index))
            self._seen[index] = seen
        return seen[1]
