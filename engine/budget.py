"""A cap on the cost of the whole run, in dollars and in tokens, kept by reservations.

Spent and reserved amounts together never exceed the cap. A request reserves the most that it can cost: its longest
answer, and a high estimate of its prompt. The budget is created with what earlier processes of the run have spent, so
the cap applies to the run and not to the process.

Most requests cost less than their reservation. So a request that does not fit waits in line while other requests are in
flight, because they may free a part of theirs. If none is in flight, the budget is spent, and every later request
fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import msgspec

from engine.errors import BadInput, Fatal, GristmillError
from engine.requests import Call, Reply, Request, Usage

__all__ = ["Budget", "Price", "PromptLength", "Reservation", "budgeted", "most_usage"]


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars per million input tokens and per million output tokens.

    Tokens read from a provider's cache, tokens written to it, and reasoning tokens have prices of their own; None is
    the price of input, of input, and of output. ``batch_discount`` is the share by which batch prices are lower.
    """

    input_usd_per_million: float
    output_usd_per_million: float
    cached_input_usd_per_million: float | None = None
    cache_write_usd_per_million: float | None = None
    reasoning_usd_per_million: float | None = None
    batch_discount: float = 0.0

    def usd(self, usage: Usage, *, batch: bool = False) -> float:
        """What `usage` costs; as a `batch`, with the discount."""
        cached, written, thoughts = usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens
        return self.of_tokens(usage.prompt_tokens, usage.completion_tokens, cached, written, thoughts, batch=batch)

    def of_tokens(
        self, prompt: int, completion: int, cached: int = 0, written: int = 0, thoughts: int = 0, *, batch: bool = False
    ) -> float:
        """What so many tokens cost; `cached` and `written` are part of `prompt`, `thoughts` of `completion`.

        Parameters: more than six, one for each kind of token.
        """
        dollars = (prompt - cached - written) * self.input_usd_per_million
        if cached:
            dollars += cached * _or(self.cached_input_usd_per_million, self.input_usd_per_million)
        if written:
            dollars += written * _or(self.cache_write_usd_per_million, self.input_usd_per_million)
        dollars += (completion - thoughts) * self.output_usd_per_million
        if thoughts:
            dollars += thoughts * _or(self.reasoning_usd_per_million, self.output_usd_per_million)
        return dollars / 1e6 * (1 - self.batch_discount if batch else 1)

    def in_batches(self) -> Price:
        """The price of a row of a batch."""
        share = 1 - self.batch_discount
        return Price(
            input_usd_per_million=self.input_usd_per_million * share,
            output_usd_per_million=self.output_usd_per_million * share,
            cached_input_usd_per_million=_times(self.cached_input_usd_per_million, share),
            cache_write_usd_per_million=_times(self.cache_write_usd_per_million, share),
            reasoning_usd_per_million=_times(self.reasoning_usd_per_million, share),
        )

    def most_usd(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost at most: nothing found in a cache, all written to it, and all of it thought."""
        dearest_in = max(self.input_usd_per_million, self.cache_write_usd_per_million or 0)
        dearest_out = max(self.output_usd_per_million, self.reasoning_usd_per_million or 0)
        return (prompt_tokens * dearest_in + completion_tokens * dearest_out) / 1e6


def _times(price: float | None, share: float) -> float | None:
    return None if price is None else price * share


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price


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

    @property
    def spent(self) -> Usage:
        return self._spent

    @property
    def in_flight(self) -> int:
        return len(self._reserved)

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
        """Free a whole reservation, of which nothing was paid."""
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
        if self._queue and all(reservation.passive for reservation in self._reserved):
            self._refuse_all(self._queue[0][0].most)

    def _keep(self, reservation: Reservation) -> None:
        self._reserved[reservation] = None
        self._reserved_usd += reservation.most.cost_usd
        self._reserved_tokens += _tokens(reservation.most)

    def _refuse_all(self, most: Usage) -> None:
        self._exhausted = Fatal(self._lacks(most) or "")
        while self._queue:
            _, future = self._queue.popleft()
            if not future.done():
                future.set_exception(self._exhausted)

    def _lacks(self, most: Usage) -> str | None:
        """Why a request that may cost `most` does not fit, in one line; None when it fits."""
        usd = self._spent.cost_usd + self._reserved_usd + most.cost_usd
        if self.usd is not None and usd > self.usd * (1 + 1e-9):
            return (
                f"the budget of ${self.usd:.2f} is spent (${self._spent.cost_usd:.4f} paid, the next request may cost "
                f"${most.cost_usd:.4f}): raise budget.usd in the configuration and run the same command again"
            )
        tokens = _tokens(self._spent) + self._reserved_tokens + _tokens(most)
        if self.tokens is not None and tokens > self.tokens:
            return (
                f"the budget of {self.tokens} tokens is spent ({_tokens(self._spent)} used, the next request may take "
                f"{_tokens(most)}): raise budget.tokens in the configuration and run the same command again"
            )
        return None

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
