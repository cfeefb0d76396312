"""The side of a process that shares limits and a budget: it states what it needs, and keeps to what it is granted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from engine.budget import Budget
from engine.demands import Allowance, Demand, Grant, Share
from engine.limits import Limit

__all__ = ["Leaseholder"]

_NOTHING = Share(requests_per_minute=0.0, tokens_per_minute=0.0, max_concurrency=0)
_KEPT = 16
_STARVED_S = 0.25


class Leaseholder:
    """All limits of this process, and its part of the `budget`, where there is a cap. Until the first grant it may send
    nothing.

    ``starved`` is called when a request has to wait for a grant, at most each `_STARVED_S`: then it is time for a demand.
    """

    def __init__(self, budget: Budget | None = None, *, starved: Callable[[], None] = lambda: None) -> None:
        self._budget = budget
        self._starved = starved
        self._starved_at = -inf
        self._limits: dict[str, Limit] = {}
        self._sent: dict[int, float] = {}
        self._number = 0
        self._grant: Grant | None = None
        self._until = -inf
        if budget is not None:
            budget.lease(Allowance(), self._starve)

    def add(self, name: str, limit: Limit) -> None:
        """`limit` goes by leases from now on; all processes know it by `name`."""
        self._limits[name] = limit
        limit.starved = self._starve
        share = self._grant.limits.get(name) if self._grant is not None else None
        if share is None or self._until <= asyncio.get_running_loop().time():
            limit.lease(_NOTHING, inf)
        else:
            limit.lease(share, self._until)

    def demand(self) -> Demand:
        """What is needed now, to be sent at once."""
        self._number += 1
        self._sent[self._number] = asyncio.get_running_loop().time()
        self._sent.pop(self._number - _KEPT, None)
        return Demand(
            number=self._number,
            applied=self._grant.number if self._grant is not None else 0,
            limits={name: limit.demand() for name, limit in self._limits.items()},
            budget=None if self._budget is None else self._budget.demand(),
        )

    def take(self, grant: Grant) -> None:
        """Follow `grant`, unless it is older than the last. Its shares may have ended on the way."""
        if self._grant is not None and grant.number <= self._grant.number:
            return
        self._grant = grant
        self._until = self._sent.get(grant.answers, -inf) + grant.lease_s
        if self._until > asyncio.get_running_loop().time():
            for name, share in grant.limits.items():
                if name in self._limits:
                    self._limits[name].lease(share, self._until)
        if self._budget is not None and grant.allowance is not None:
            self._budget.lease(grant.allowance)

    def _starve(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._starved_at >= _STARVED_S:
            self._starved_at = now
            self._starved()
