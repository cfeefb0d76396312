"""A cap on the cost of the whole run, in dollars and in tokens, kept by reservations.

Spent and reserved amounts together never exceed the cap. A request reserves the most that it can cost: its longest
answer, and a high estimate of its prompt. The budget is created with what earlier processes of the run have spent, so
the cap applies to the run and not to the process.

Most requests cost less than their reservation. So a request that does not fit waits in line while other requests are in
flight, because they may free a part of theirs. If none is in flight, the budget is spent, and every later request
fails.

In a process that shares the budget with others, `Budget.lease` sets what this process may pay. What does not fit then
waits for a larger allowance; only who grants them knows that nothing is left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import msgspec

from engine.demands import Allowance, BudgetDemand
from engine.errors import BadInput, Fatal, GristmillError
from engine.prices import Price
from engine.requests import Call, Reply, Request, Usage

__all__ = ["Budget", "PromptLength", "Reservation", "budgeted", "lacks", "most_usage"]


def budgeted(call: Call, budget: Budget, *, price: Price | None = None) -> Call:
    """Send each request only when `budget` has room for it, and add its cost by `price` to replies that have none.

    Wrap it inside the retries: each attempt has its own reservation, and a failed one costs the usage of its error.
    Raises `BadInput` when the budget is in dollars and there is no price; the call raises `Fatal` when the budget is
    spent.
    """
    if budget.usd is not None and price is None:
        raise BadInput(
            "budget.usd is set and a model has no price: set its input_usd_per_million and output_usd_per_million "
            "(0 if it is free), or use budget.tokens"
        )
    prompts = PromptLength()

    async def afforded(request: Request) -> Reply:
        async with budget.reserve(most_usage(request, price, prompts)) as reservation:
            try:
                reply = await call(request)
            except GristmillError as error:
                if not error.usage.requests:
                    raise
                usage = _priced(error.usage, price)
                reservation.settle(usage)
                raise error.costing(usage) from error
            prompts.learn(request, reply.usage)
            usage = _priced(reply.usage, price)
            reservation.settle(usage)
            return msgspec.structs.replace(reply, usage=usage)

    return afforded


class Budget:
    """Caps on the run in dollars and in tokens (input and output together); None is no cap.

    ``spent`` is what earlier processes of the run have paid for. Raises `BadInput` for a cap that is not above 0.
    """

    def __init__(self, *, usd: float | None = None, tokens: int | None = None, spent: Usage | None = None) -> None:
        for name, cap in (("usd", usd), ("tokens", tokens)):
            if cap is not None and not cap > 0:
                raise BadInput(f"budget.{name} is {cap}: set it above 0, or leave it out for no cap")
        self.usd = usd
        self.tokens = tokens
        self._spent = spent or Usage()
        self._reserved: dict[Reservation, None] = {}
        self._reserved_usd = 0.0
        self._reserved_tokens = 0
        self._queue: deque[tuple[Reservation, asyncio.Future[None]]] = deque()
        self._exhausted: Fatal | None = None
        self._allowance: Allowance | None = None
        self._starved: Callable[[], None] = lambda: None

    @property
    def spent(self) -> Usage:
        return self._spent

    @property
    def in_flight(self) -> int:
        return len(self._reserved)

    def lease(self, allowance: Allowance, starved: Callable[[], None] | None = None) -> None:
        """Go by `allowance` from now on; what is paid and reserved already stays. ``starved`` is called when a request has
        to wait for a larger one."""
        self._starved = starved or self._starved
        self._allowance = msgspec.structs.replace(
            allowance,
            usd=max(allowance.usd, self._spent.cost_usd + self._reserved_usd),
            tokens=max(allowance.tokens, _tokens(self._spent) + self._reserved_tokens),
        )
        if allowance.exhausted:
            self._refuse_all(Fatal(allowance.exhausted))
        else:
            self._wake()

    def demand(self) -> BudgetDemand:
        """What this process needs, for the process that grants allowances."""
        allowance = self._allowance or Allowance()
        waiting = [reservation.most for reservation, future in self._queue if not future.done()]
        return BudgetDemand(
            spent=self._spent,
            reserved=Usage(cost_usd=self._reserved_usd, prompt_tokens=self._reserved_tokens),
            allowed_usd=max(allowance.usd, self._spent.cost_usd + self._reserved_usd),
            allowed_tokens=max(allowance.tokens, _tokens(self._spent) + self._reserved_tokens),
            waiting=sum(waiting, Usage()),
            first=waiting[0] if waiting else None,
            active=not all(reservation.passive for reservation in self._reserved),
        )

    def reserve(self, most: Usage) -> AbstractAsyncContextManager[Reservation]:
        """A context manager: entering reserves `most`, the most that a request can cost. Call `settle` with its true
        cost.

        Entering waits while the request does not fit and others are in flight, and raises `Fatal` when it does not fit
        and none is in flight. Leaving without `settle` frees the whole reservation.
        """
        return Reservation(self, most)

    def hold(self, most: Usage, *, passive: bool = False) -> Reservation:
        """Reserve `most` at once, whether it fits or not: for what was begun before.

        One that is `passive` waits for the run to go on, so nobody waits for it.
        """
        held = Reservation(self, most, passive=passive)
        self._keep(held)
        return held

    def add(self, held: Reservation, more: Usage) -> None:
        """Add `more` to what is reserved, whether it fits or not."""
        if self._reserved_no_more(held):
            held.most += more
            self._keep(held)

    def free(self, held: Reservation) -> None:
        """Free a whole reservation: nothing was paid."""
        self._leave(held)

    async def extend(self, more: Usage, held: Callable[[], Reservation]) -> None:
        """Add `more` to the reservation that `held` returns, once there is room for it; waits and raises as `reserve`."""
        part = Reservation(self, more)
        await self._enter(part)
        self.add(held(), more)
        self._reserved_no_more(part)

    async def _enter(self, reservation: Reservation) -> None:
        if self._exhausted is not None:
            raise self._exhausted
        future = asyncio.get_running_loop().create_future()
        self._queue.append((reservation, future))
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            self._reserved_no_more(reservation)
            self._wake()
            raise

    def _wake(self) -> None:
        """Start the requests at the head of the queue that fit; if the first can never fit, refuse all."""
        while self._queue:
            reservation, future = self._queue[0]
            if not future.done():  # else cancelled
                if self._lacks(reservation.most) is not None:
                    break
                self._keep(reservation)
                future.set_result(None)
            self._queue.popleft()
        if not self._queue:
            return
        if self._allowance is not None:
            self._starved()
        elif all(reservation.passive for reservation in self._reserved):
            self._refuse_all(Fatal(self._lacks(self._queue[0][0].most) or ""))

    def _keep(self, reservation: Reservation) -> None:
        self._reserved[reservation] = None
        self._reserved_usd += reservation.most.cost_usd
        self._reserved_tokens += _tokens(reservation.most)

    def _refuse_all(self, exhausted: Fatal) -> None:
        self._exhausted = exhausted
        while self._queue:
            _, future = self._queue.popleft()
            if not future.done():
                future.set_exception(exhausted)

    def _lacks(self, most: Usage) -> str | None:
        """Why a request that may cost `most` does not fit, in one line; None when it fits."""
        usd, tokens = self.usd, self.tokens
        if self._allowance is not None:
            usd = None if usd is None else self._allowance.usd
            tokens = None if tokens is None else self._allowance.tokens
        return lacks(usd, tokens, self._spent, most, self._reserved_usd, self._reserved_tokens)

    def _settle(self, reservation: Reservation, usage: Usage) -> None:
        if self._reserved_no_more(reservation):
            self._spent += usage
            self._wake()

    def _leave(self, reservation: Reservation) -> None:
        if self._reserved_no_more(reservation):
            self._wake()

    def _reserved_no_more(self, reservation: Reservation) -> bool:
        if reservation not in self._reserved:
            return False
        del self._reserved[reservation]
        self._reserved_usd = self._reserved_usd - reservation.most.cost_usd if self._reserved else 0.0
        self._reserved_tokens -= _tokens(reservation.most)
        return True


def lacks(
    usd: float | None, tokens: int | None, spent: Usage, most: Usage, reserved_usd: float, reserved_tokens: int
) -> str | None:
    """Why a request that may cost `most` does not fit under caps beside what is spent and reserved, in one line."""
    if usd is not None and spent.cost_usd + reserved_usd + most.cost_usd > usd * (1 + 1e-9):
        return (
            f"the budget of ${usd:.2f} is spent (${spent.cost_usd:.4f} paid, the next request may cost "
            f"${most.cost_usd:.4f}): raise budget.usd in the configuration and run the same command again"
        )
    if tokens is not None and _tokens(spent) + reserved_tokens + _tokens(most) > tokens:
        return (
            f"the budget of {tokens} tokens is spent ({_tokens(spent)} used, the next request may take "
            f"{_tokens(most)}): raise budget.tokens in the configuration and run the same command again"
        )
    return None


class Reservation:
    """The amount that is reserved for one request."""

    __slots__ = ("_budget", "most", "passive")

    def __init__(self, budget: Budget, most: Usage, *, passive: bool = False) -> None:
        self._budget = budget
        self.most = most
        self.passive = passive

    async def __aenter__(self) -> Self:
        await self._budget._enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget._leave(self)

    def settle(self, usage: Usage) -> None:
        """Record that the request cost `usage`, and free the rest of the reservation."""
        self._budget._settle(self, usage)


class PromptLength:
    """A high estimate of a prompt's tokens: one per two characters, later a quarter above the highest ratio seen."""

    __slots__ = ("_tokens_per_character",)

    def __init__(self) -> None:
        self._tokens_per_character = 0.0

    def most(self, request: Request) -> float:
        return request.characters * (1.25 * self._tokens_per_character or 0.5)

    def likely(self, request: Request) -> int:
        """A good estimate of a prompt's tokens."""
        return round(request.characters * (self._tokens_per_character or 0.3))

    def learn(self, request: Request, usage: Usage) -> None:
        if request.characters and usage.prompt_tokens:
            self._tokens_per_character = max(self._tokens_per_character, usage.prompt_tokens / request.characters)


def most_usage(request: Request, price: Price | None, prompts: PromptLength) -> Usage:
    """The most that a request can cost."""
    prompt_tokens, completion_tokens = round(prompts.most(request)), request.max_output_tokens
    usd = 0.0 if price is None else price.most_usd(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    return Usage(requests=1, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, cost_usd=usd)


def _priced(usage: Usage, price: Price | None) -> Usage:
    if usage.cost_usd or price is None:
        return usage
    return msgspec.structs.replace(usage, cost_usd=price.usd(usage))


def _tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
