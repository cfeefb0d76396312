"""So many requests answered at a time, first come, first served, as a server that runs its own model does it.

How long an answer takes is known when its request arrives, and so is the instant at which a slot falls free for it:
no queue is kept, only those instants.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapreplace

__all__ = ["Slots"]


class Slots:
    """`count` slots, all free at first; with 0 there is no end of them. `clock` tells seconds."""

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._free_at_s = [clock()] * count

    def take(self, work_s: float) -> float:
        """Take the slot that is free first for so many seconds; returns how long to wait for it.

        A slot stays taken when the client leaves: the server goes on writing.
        """
        if not self._free_at_s:
            return 0.0
        now_s = self._clock()
        begins_s = max(now_s, self._free_at_s[0])
        heapreplace(self._free_at_s, begins_s + work_s)
        return begins_s - now_s
