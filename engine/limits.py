"""One object per endpoint that decides when each request may be sent.

It joins three things: requests a minute and tokens a minute (meters.py), and how many may be in flight (concurrency.py).
Before a request is sent its tokens are estimated (estimates.py). What holds, whatever succeeds, fails or is cancelled:

- *Order.* Requests start in the order in which they asked. The first in the queue is the only one that is looked at, so
  a large one waits for its tokens and no small one passes it.
- *Caps.* Never more in flight than the window, which is never above ``max_concurrency``. Never more started in any time
  than the meters allow.
- *Return.* Whoever leaves a slot, in whatever way, gives its place back exactly once.
- *Progress.* While requests wait and no pause holds, either one is in flight (and will leave and wake the queue) or a
  timer is set for the instant at which the first may go: no polling, no background task.
- *Pause.* What one reply says in ``Retry-After`` holds for all whose turn has not come yet; a turn once given stands.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from engine.concurrency import Concurrency
from engine.errors import BadInput, Permanent, Transient
from engine.estimates import Estimate, Estimates, Sent, Tariff
from engine.meters import Meter, Told
from engine.requests import Call, Reply, Request, ServerLimits, Usage
from engine.waiting import Waiting

__all__ = ["Limit", "Slot", "limited"]


def limited(call: Call, limit: Limit) -> Call:
    """Send each request through `call` when `limit` lets it."""

    async def sent_in_turn(request: Request) -> Reply:
        async with limit.slot(request) as slot:
            try:
                reply = await call(request)
            except Transient as error:
                slot.fail(error)
                raise
            except Permanent as error:
                if error.usage.requests:  # it was answered, if not usefully
                    slot.settle(error.usage)
                raise
            slot.settle(reply.usage, reply.server_limits)
            return reply

    return sent_in_turn


class Limit:
    """The limits of one endpoint; what is None is learned from the server's headers and rejections.

    Raises `BadInput` for a limit that is not above 0.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_concurrency: int | None = None,
    ) -> None:
        _check(
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            max_concurrency=max_concurrency,
        )
        self._requests = Meter(requests_per_minute)
        self._tokens = Meter(tokens_per_minute)
        self._concurrency = Concurrency(max_concurrency)
        self._estimates = Estimates()
        self._tariff = Tariff()
        if self._requests.rate or self._tokens.rate:
            self._concurrency.open()
        self._queue: Waiting[Slot] = Waiting()
        self._called = 0  # whose turn has come but whose task has not run yet: a newcomer must not pass them
        self._next_number = 1
        self._unrejected_from = 1
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed: BaseException | None = None

    def slot(self, request: Request) -> AbstractAsyncContextManager[Slot]:
        """Enter it to wait for the request's turn; send the request inside; tell the slot how it ended.

        Entering raises `Permanent` (kind "too_large") at once when the request can never fit, and what `close` was given.
        """
        return Slot(self, request)

    def close(self, error: BaseException) -> None:
        """Everyone who waits, now and later, gets `error`. None of these requests was sent, so nothing is lost."""
        self._closed = error
        while self._queue:
            slot, future = self._queue.first()
            self._queue.remove(slot)
            if not future.done():
                future.set_exception(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def in_flight(self) -> int:
        return self._concurrency.in_flight

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def window(self) -> int:
        """How many may be in flight at once, as things stand."""
        return int(self._concurrency.window)

    @property
    def paused_until(self) -> float:
        """The loop's time before which nothing is sent because the server asked for it; may be past."""
        return self._paused_until

    # What follows is for `Slot`.

    def _enter(self, slot: Slot) -> bool:
        """Start the request if it may go at once, as most do."""
        if self._closed is not None:
            raise self._closed
        now, ready_at = asyncio.get_running_loop().time(), self._ready_at(slot)
        self._refuse_too_large(slot)
        if not self._queue and not self._called and self._concurrency.room and ready_at <= now:
            self._start(slot, now)
            return True
        return False

    async def _wait(self, slot: Slot) -> None:
        future = self._queue.add(slot, slot.request.rank)
        self._wake()
        try:
            if future.done():  # awaiting it would not yield, and pass those who were called before and have not run yet
                await asyncio.sleep(0)
            await future
        except asyncio.CancelledError:
            if slot.number:
                self._called -= 1
                self._leave()
            elif self._queue.remove(slot):
                self._wake()
            raise
        self._called -= 1

    def _refuse_too_large(self, slot: Slot) -> None:
        if slot.charge > self._tokens.largest:
            raise Permanent(
                f"the request counts for about {slot.charge:.0f} tokens and the endpoint admits "
                f"{self._tokens.largest:.0f} at once: shorten its prompt ({slot.request.characters} characters), lower "
                f"max_tokens ({slot.request.max_output_tokens}) or raise tokens_per_minute",
                kind="too_large",
            )

    def _ready_at(self, slot: Slot) -> float:
        slot.estimate = self._estimates.of(slot.request)
        slot.charge = self._tariff.charge(slot.estimate)
        return max(self._paused_until, self._requests.ready_at(1), self._tokens.ready_at(slot.charge))

    def _start(self, slot: Slot, now: float) -> None:
        slot.number = self._next_number
        self._next_number += 1
        self._tariff.add(slot.request, slot.estimate)
        slot.sent = self._tariff.sums(now)
        slot.request_mark = self._requests.take(1, now)
        slot.token_mark = self._tokens.take(slot.charge, now)
        self._concurrency.enter()

    def _wake(self) -> None:
        """Start those at the head of the queue that may go now, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queue and self._concurrency.room:
            slot, future = self._queue.first()
            if not future.done():  # else cancelled, its task not yet run
                ready_at = self._ready_at(slot)
                if ready_at > now:
                    self._set_timer(loop, ready_at)
                    return
                self._start(slot, now)
                self._called += 1
                future.set_result(None)
            self._queue.remove(slot)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= when:  # it looks again when it fires
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _leave(self) -> None:
        self._concurrency.leave()
        if self._queue:
            self._wake()

    def _settle(self, slot: Slot, usage: Usage, told: ServerLimits | None) -> None:
        now = asyncio.get_running_loop().time()
        self._concurrency.succeeded()
        self._count(slot, usage, now)
        if told is not None:
            self._hear(slot, told, now)

    def _count(self, slot: Slot, usage: Usage, now: float) -> None:
        """Learn from what an answer really cost, and give back what was reserved above it."""
        self._estimates.learn(slot.request, usage)
        used = usage.prompt_tokens + usage.completion_tokens
        if used:
            self._tokens.give_back(slot.charge - used, now)

    def _fail(self, slot: Slot, error: Transient) -> None:
        now = asyncio.get_running_loop().time()
        if error.retry_after_s is not None:
            self._paused_until = max(self._paused_until, now + error.retry_after_s)
        if error.kind == "rate_limited":
            self._reject(slot, error, now)
        else:
            self._concurrency.failed(slot.number, next_number=self._next_number, clear=False)
            if error.usage.requests:
                self._count(slot, error.usage, now)
            elif error.kind != "timeout":  # after a timeout the server may still be writing
                self._tokens.give_back(slot.estimate.output, now)
        if error.server_limits is not None:
            self._hear(slot, error.server_limits, now)

    def _reject(self, slot: Slot, error: Transient, now: float) -> None:
        self._tokens.give_back(slot.charge, now)
        if slot.number >= self._unrejected_from:
            self._unrejected_from = self._next_number
            self._requests.reject(now)
            self._tokens.reject(now)
        if error.retry_after_s is None or not _explains(error.server_limits, slot):
            self._concurrency.failed(slot.number, next_number=self._next_number, clear=True)

    def _hear(self, slot: Slot, told: ServerLimits, now: float) -> None:
        unlimited = not (self._requests.rate or self._tokens.rate)
        sent = slot.sent
        requests = Told(told.limit_requests, told.remaining_requests, told.reset_requests_s)
        self._requests.hear(requests, mark=slot.request_mark, amount=1, sent_at=sent.at, now=now)
        tokens, charge = Told(told.limit_tokens, told.remaining_tokens, told.reset_tokens_s), slot.charge
        self._tokens.hear(tokens, mark=slot.token_mark, amount=charge, sent_at=sent.at, now=now)
        if tokens.remaining is not None and self._tokens.server_rate:
            self._tariff.learn(
                sent,
                tokens.remaining,
                rate=self._tokens.server_rate,
                tokens_per_character=self._estimates.tokens_per_character,
                near_full=self._tokens.near_full(tokens, charge),
            )
        if unlimited and (self._requests.rate or self._tokens.rate):
            self._concurrency.open()


class Slot:
    """One request's turn at an endpoint, from the moment that it may be sent; tell it once how the request ended.

    Leaving it without a word (a cancellation, another error) keeps what was reserved, since the server may have counted
    it, and gives back the place.
    """

    __slots__ = ("_limit", "_told", "charge", "estimate", "number", "request", "request_mark", "sent", "token_mark")

    estimate: Estimate
    sent: Sent
    charge: float
    request_mark: float
    token_mark: float

    def __init__(self, limit: Limit, request: Request) -> None:
        self.request = request
        self.number = 0  # in the order of sending, from 1; 0 while it waits
        self._limit = limit
        self._told = False

    async def __aenter__(self) -> Self:
        if not self._limit._enter(self):
            await self._limit._wait(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit._leave()

    def settle(self, usage: Usage, told: ServerLimits | None = None) -> None:
        """The request was answered: correct the books by what it really cost and by what the server told."""
        if not self._told:
            self._told = True
            self._limit._settle(self, usage, told)

    def fail(self, error: Transient) -> None:
        """The attempt failed: wait as long as the server asks, and send less if it is overloaded."""
        if not self._told:
            self._told = True
            self._limit._fail(self, error)


def _explains(told: ServerLimits | None, slot: Slot) -> bool:
    """Is the rejection due to a limit that the server states, and not to one that we cannot see?"""
    if told is None:
        return False
    return (told.remaining_requests is not None and told.remaining_requests < 2) or (
        told.remaining_tokens is not None and told.remaining_tokens < 2 * slot.charge
    )


def _check(**limits: float | None) -> None:
    for name, value in limits.items():
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(f"{name} is {value}: set it above 0, or leave it out to have it learned")
