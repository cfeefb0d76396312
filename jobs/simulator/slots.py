"""A bounded number of requests answered at a time, first come, first served, like a server that runs its own model.

The duration of an answer is known when its request arrives, and so is the time at which a slot becomes free for it.
So no queue is kept, only those times.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapreplace

__all__ = ["Slots"]


class Slots:
    """`count` slots, all free at first; 0 means no bound. `clock` returns seconds."""

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._free_at_s = [clock()] * count

    def take(self, work_s: float) -> float:
        """Take the slot that becomes free first for the given seconds; returns the wait for it, in seconds.

        A slot stays taken when the client disconnects: the server goes on generating.
        """
        if not self._free_at_s:
            return 0.0
        now_s = self._clock()
        begins_s = max(now_s, self._free_at_s[0])
        heapreplace(self._free_at_s, begins_s + work_s)
        return begins_s - now_s
