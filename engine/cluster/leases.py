"""Shares of the limits and allowances of the budget, for the processes of one run; kept by its head.

Each process states what it needs about once a second, and is granted what it may use until then: see `shared_limit` for the
limits and `allowances` for the budget. Nothing here waits, or knows how messages travel: a demand or a grant may come late
or never, and a process may be lost at any time.

A share holds for `LEASE_S` from when the process *sent* the demand that the grant answers, and is counted here from when
that demand came. So a process that was frozen and finds old grants when it goes on has no share.
"""

from __future__ import annotations

from engine.cluster.allowances import Allowances
from engine.cluster.shared_limit import LEASE_S, SharedLimit
from engine.demands import Demand, Grant
from engine.requests import Usage

__all__ = ["LEASE_S", "Leases"]


class Leases:
    """What ``workers`` processes share, about: all limits that their demands name, and a budget (None is no cap).

    ``spent`` is what was paid before. ``restarted`` says that another head may have granted leases just before ``now``: then
    none is granted until these have ended. Times are the caller's. A name of a worker is never used again.
    """

    def __init__(
        self,
        *,
        workers: int,
        now: float,
        restarted: bool = False,
        usd: float | None = None,
        tokens: int | None = None,
        spent: Usage | None = None,
    ) -> None:
        self._workers = workers
        self._fresh = not restarted
        self._quiet_until = now + LEASE_S if restarted else now
        self._limits: dict[str, SharedLimit] = {}
        self._numbers: dict[str, int] = {}
        self._capped = usd is not None or tokens is not None
        self._allowances = Allowances(usd=usd, tokens=tokens, spent=spent or Usage(), workers=workers)

    @property
    def allowances(self) -> Allowances:
        return self._allowances

    def limit(self, name: str) -> SharedLimit:
        """Raises `KeyError` for one that is in no demand yet."""
        return self._limits[name]

    def grant(self, worker: str, demand: Demand, now: float) -> Grant:
        """The answer to a demand that has come from `worker` by `now`."""
        number = self._numbers[worker] = self._numbers.get(worker, 0) + 1
        applied, shares = demand.applied, {}
        for name, demanded in demand.limits.items():
            if name not in self._limits:
                self._limits[name] = SharedLimit(
                    workers=self._workers, quiet_until=self._quiet_until, fresh=self._fresh
                )
            shares[name] = self._limits[name].grant(worker, demanded, applied=applied, number=number, now=now)
        allowance = None
        if demand.budget is not None and self._capped:
            allowance = self._allowances.grant(worker, demand.budget, applied=applied, number=number, now=now)
        return Grant(number=number, answers=demand.number, lease_s=LEASE_S, limits=shares, allowance=allowance)

    def lost(self, worker: str) -> None:
        """`worker` is gone. Its shares count until their leases have ended, its allowance for as long as this head lives."""
        for limit in self._limits.values():
            limit.lost(worker)
        self._allowances.lost(worker)
