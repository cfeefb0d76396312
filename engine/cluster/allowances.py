"""The budget, divided into allowances.

An allowance is what one process may pay since it began, what is reserved included; it may shrink to what is already paid and
reserved there. The invariant: what was paid before, and the largest allowance that each process may hold, never exceed
the cap together. An allowance that was lowered counts as it was until the process says that it follows the lower one.

Nobody knows what a lost process had in flight, so its whole allowance stays counted, and allowances are kept small: what is
reserved, what waits, and what is paid until the next few grants, of what is free no more than one part for each process.

While a request waits somewhere that does not fit in what is free, nobody else is allowed more than it has a use for: what
idle processes hold ahead may be all that this request lacks.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.budget import lacks
from engine.demands import Allowance, BudgetDemand
from engine.requests import Usage

__all__ = ["Allowances"]

_AHEAD_S = 3.0
"""For how long an allowance lasts at the present rate."""

_APART_S = 0.2
_ROUNDING = 1e-9  # as in `lacks`

_ANYHOW = 0.02
"""The share of what is free that all have together before they have asked for anything."""


class Allowances:
    """Caps in dollars and in tokens (None is no cap), and ``spent``, what was paid before."""

    def __init__(self, *, usd: float | None, tokens: int | None, spent: Usage, workers: int) -> None:
        self._usd, self._tokens = usd, tokens
        self._spent = spent
        self._lost: dict[str, Usage] = {}  # what they had paid, as far as is known
        self._demands: dict[str, BudgetDemand] = {}
        self._dollars = _Purse(usd, spent.cost_usd, workers)
        self._counts = _Purse(tokens, spent.prompt_tokens + spent.completion_tokens, workers)
        self._exhausted = ""

    @property
    def outstanding(self) -> tuple[float, float]:
        """What was paid before and may be paid at most under all allowances, in dollars and in tokens."""
        return self._dollars.outstanding, self._counts.outstanding

    def grant(self, worker: str, demand: BudgetDemand, *, applied: int, number: int, now: float) -> Allowance:
        """The allowance of grant `number`, in answer to a demand that was made after grant `applied`."""
        self._demands[worker] = demand
        if not self._exhausted:
            self._exhausted = self._nothing_left(demand)
        steps = _Step(applied=applied, number=number, at=now)
        return Allowance(
            usd=self._dollars.grant(worker, _Need.dollars(demand), steps),
            tokens=int(self._counts.grant(worker, _Need.tokens(demand), steps)),
            exhausted=self._exhausted,
        )

    def lost(self, worker: str) -> None:
        """The process is gone, and what it had in flight may have been paid."""
        demand = self._demands.pop(worker, None)
        if demand is not None:
            self._lost[worker] = demand.spent
        self._dollars.lost(worker)
        self._counts.lost(worker)

    def _nothing_left(self, demand: BudgetDemand) -> str:
        """Why no request that waits anywhere can ever go, in one line; "" while one may."""
        demands = list(self._demands.values())
        if demand.first is None or any(each.active for each in demands):
            return ""
        paid = sum((self._spent, *self._lost.values(), *(each.spent for each in demands)), Usage())
        # Counted, though not known to be paid: what lost ones were allowed, and what only the run itself can settle.
        held = sum((each.reserved for each in demands), Usage())
        usd = held.cost_usd + self._dollars.of(self._lost) - sum(each.cost_usd for each in self._lost.values())
        tokens = _count(held) + self._counts.of(self._lost) - sum(map(_count, self._lost.values()))
        why = [
            lacks(self._usd, self._tokens, paid, each.first, max(0.0, usd), max(0, int(tokens)))
            for each in (demand, *demands)
            if each.first is not None
        ]
        return why[0] or "" if all(why) else ""


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    applied: int
    number: int
    at: float


class _Need(msgspec.Struct, frozen=True, kw_only=True):
    """A demand in one unit."""

    spent: float
    reserved: float
    allowed: float
    waiting: float
    first: float

    @classmethod
    def dollars(cls, demand: BudgetDemand) -> _Need:
        return cls(
            spent=demand.spent.cost_usd,
            reserved=demand.reserved.cost_usd,
            allowed=demand.allowed_usd,
            waiting=demand.waiting.cost_usd,
            first=demand.first.cost_usd if demand.first else 0.0,
        )

    @classmethod
    def tokens(cls, demand: BudgetDemand) -> _Need:
        return cls(
            spent=_count(demand.spent),
            reserved=_count(demand.reserved),
            allowed=demand.allowed_tokens,
            waiting=_count(demand.waiting),
            first=_count(demand.first) if demand.first else 0.0,
        )


class _Purse:
    """One cap, and who may pay how much of it."""

    def __init__(self, cap: float | None, before: float, workers: int) -> None:
        self._cap = cap
        self._before = before
        self._workers = workers
        self._held: dict[str, float] = {}
        self._unmet: set[str] = set()  # whose first request did not fit in what was free at the last grant
        self._granted: dict[str, list[tuple[int, float]]] = {}
        self._flow: dict[
            str, tuple[float, float, float]
        ] = {}  # when, what was used until then, and its growth a second

    @property
    def outstanding(self) -> float:
        return self._before + sum(self._held.values())

    def of(self, names: Mapping[str, object]) -> float:
        """What these are counted for."""
        return sum(self._held.get(name, 0.0) for name in names)

    def grant(self, worker: str, need: _Need, step: _Step) -> float:
        if self._cap is None:
            return 0.0
        granted = [(number, amount) for number, amount in self._granted.get(worker, []) if number > step.applied]
        self._held[worker] = max([need.allowed, *(amount for _, amount in granted)])
        used = need.spent + need.reserved
        free = self._cap - (self.outstanding - self._held[worker]) - used
        ahead = max(_AHEAD_S * self._paid_a_second(worker, need.spent, step.at), _ANYHOW * free / self._workers)
        if self._unmet - {worker}:
            ahead = 0.0
        wanted = need.waiting + ahead
        # Not all that is free, where others wait too; but what is less than the first who waits needs helps nobody.
        more = min(wanted, max(free / max(2, self._workers), need.first))
        fits = need.first <= free + _ROUNDING * self._cap
        self._unmet.discard(worker)
        if not fits:
            self._unmet.add(worker)
        allowed = used + (max(0.0, more) if fits else 0.0)
        self._granted[worker] = [*granted, (step.number, allowed)]
        self._held[worker] = max(self._held[worker], allowed)
        return allowed

    def lost(self, worker: str) -> None:
        """The process is gone and waits for nothing; what it was allowed stays counted."""
        self._unmet.discard(worker)

    def _paid_a_second(self, worker: str, spent: float, now: float) -> float:
        """As it is now, or half of what it was before."""
        at, before, a_second = self._flow.get(worker, (now, spent, 0.0))
        if now - at >= _APART_S:
            a_second = max((spent - before) / (now - at), a_second / 2)
        if now - at >= _APART_S or worker not in self._flow:
            self._flow[worker] = (now, spent, a_second)
        return a_second


def _count(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
