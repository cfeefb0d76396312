"""How many requests are at endpoints now, and how long one takes: what a user wants to know who waits for a stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from engine.requests import Call, Reply, Request

__all__ = ["Traffic"]

_WEIGHT = 0.1
"""How much the newest answer counts in the mean of how long answers take."""


class Traffic:
    """Counts the requests of all calls that it watches, by job in ``jobs``. ``mean_s`` is how long answers took of late,

    None before one."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.jobs = Counter[str]()
        self.mean_s: float | None = None
        self._elsewhere: dict[str, Mapping[str, int]] = {}

    def hear(self, process: str, in_flight: Mapping[str, int]) -> None:
        """Another process of the run has these numbers of requests under way now, by job."""
        before = self._elsewhere.pop(process, {})
        if in_flight:
            self._elsewhere[process] = in_flight
        self.jobs.subtract(before)
        self.jobs.update(in_flight)
        self.in_flight += sum(in_flight.values()) - sum(before.values())

    def watched(self, call: Call) -> Call:
        """`call`, whose requests count while they are under way."""

        async def sent(request: Request) -> Reply:
            clock = asyncio.get_running_loop().time
            began = clock()
            self.in_flight += 1
            self.jobs[request.job] += 1
            try:
                reply = await call(request)
            finally:
                self.in_flight -= 1
                self.jobs[request.job] -= 1
            took = clock() - began
            self.mean_s = took if self.mean_s is None else self.mean_s + _WEIGHT * (took - self.mean_s)
            return reply

        return sent

    def words(self) -> str:
        """What is in flight, for a line that goes on with what becomes of it."""
        if not self.in_flight:
            return "what is in flight is"
        requests, are = ("1 request", "is") if self.in_flight == 1 else (f"{self.in_flight} requests", "are")
        takes = "" if self.mean_s is None else f" (one takes about {max(1, round(self.mean_s))} s)"
        return f"{requests} in flight{takes} {are}"
