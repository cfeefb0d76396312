"""One object per endpoint that decides when each request may be sent.

It joins three limits: requests per minute and tokens per minute (rates.py), and requests in flight (concurrency.py).
The tokens of a request are estimated before it is sent (estimates.py). These invariants hold on success, failure and
cancellation:

- *Order.* Requests of a higher rank start first, and those of one rank in the order in which they arrived. Only the
  first in the queue is considered, so a large one waits for its tokens and no small one of its rank overtakes it.
- *Caps.* Never more in flight than the window, which is never above ``max_concurrency``. Never more started in any time
  than the meters allow.
- *Return.* Leaving a slot, in whatever way, frees its place exactly once.
- *Progress.* While requests wait and no pause holds, either one is in flight (and will leave and wake the queue) or a
  timer is set for the instant at which the first may go: no polling, no background task. Under a share of 0 they wait for
  the next `Limit.lease`.
- *Pause.* A ``Retry-After`` in one reply delays every request that has not started; started requests continue.
- *Lease.* In a process that shares the endpoint with others, nothing starts beyond its share, nor after the lease has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import Self

import msgspec

from engine.concurrency import Concurrency
from engine.demands import LimitDemand, Share
from engine.errors import BadInput, Permanent, Transient
from engine.rates import Counted, Rates, believable
from engine.requests import Call, Reply, Request, ServerLimits, Usage
from engine.waiting import Waiting

__all__ = ["Limit", "Slot", "limited"]


def limited(call: Call, limit: Limit) -> Call:
    """Send each request through `call` when `limit` allows it."""

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
    """The limits of one endpoint. A limit that is None is learned from the server's headers and rejections.

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
        self._rates = Rates(requests_per_minute, tokens_per_minute)
        self._concurrency = Concurrency(max_concurrency)
        self._max_concurrency = max_concurrency
        if self._rates.known:
            self._concurrency.open()
        self._queue: Waiting[Slot] = Waiting()
        self._called = 0  # requests whose turn has come but whose task has not run yet: none may overtake them
        self._next_number = 1
        self._tokens_used = 0
        self._rejected = 0
        self._unrejected_from = 1
        self._paused_until = 0.0
        self._leased_until = inf
        self.starved: Callable[[], None] = lambda: None  # called when a request waits that has no share at all
        self._timer: asyncio.TimerHandle | None = None
        self._lapsing: asyncio.TimerHandle | None = None
        self._closed: BaseException | None = None

    def slot(self, request: Request) -> AbstractAsyncContextManager[Slot]:
        """A context manager: entering waits for the request's turn. Send the request inside, then call `Slot.settle` or
        `Slot.fail`.

        Entering raises `Permanent` (kind "too_large") at once when the request can never fit, and the error that was
        given to `close`.
        """
        return Slot(self, request)

    def close(self, error: BaseException) -> None:
        """Raise `error` in every request that waits, now and later. None of them was sent, so nothing is lost."""
        self._closed = error
        while self._queue:
            slot, future = self._queue.first()
            self._queue.remove(slot)
            if not future.done():
                future.set_exception(error)
        for timer in (self._timer, self._lapsing):
            if timer is not None:
                timer.cancel()
        self._timer = self._lapsing = None

    def lease(self, share: Share, until: float) -> None:
        """Go by `share` of the limits until the loop's time `until`, then by none where there is a limit, until the next
        lease. It holds at once, for requests that wait as well; those in flight go on."""
        loop = asyncio.get_running_loop()
        self._leased_until = until
        self._rates.lease(share, loop.time())
        if self._max_concurrency is not None:
            self._concurrency.lease(share.max_concurrency)
        if self._rates.known:
            self._concurrency.open()
        elif self._max_concurrency is None:
            self._concurrency.begin(share.workers)
        if self._lapsing is not None:
            self._lapsing.cancel()
        self._lapsing = None if self._closed or until == inf else loop.call_at(until, self._lapse)
        if self._queue:
            self._wake()

    def demand(self) -> LimitDemand:
        """What this process needs, for the process that grants shares. What the server said to remain is in one demand only."""
        now, waiting, next_tokens = asyncio.get_running_loop().time(), len(self._queue), 0.0
        crowded = waiting if not self._concurrency.room else 0
        if self._queue:
            self._ready_at(slot := self._queue.first()[0])
            next_tokens = slot.charge
        return msgspec.structs.replace(
            self._rates.demand(self._next_number - 1, now),
            max_concurrency=self._max_concurrency,
            waiting=waiting - crowded,
            crowded=crowded,
            in_flight=self.in_flight,
            rejected=self._rejected,
            paused_s=max(0.0, self._paused_until - now),
            next_tokens=next_tokens,
        )

    @property
    def per_minute(self) -> tuple[float, float]:
        """The requests and the tokens that may be used in a minute; 0 while no limit is known."""
        return 60 * self._rates.requests.rate, 60 * self._rates.tokens.rate

    @property
    def used(self) -> tuple[int, int]:
        """The requests that were started, and the tokens of those that were answered, since the limit was made."""
        return self._next_number - 1, self._tokens_used

    @property
    def in_flight(self) -> int:
        return self._concurrency.in_flight

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def window(self) -> int:
        """How many requests may be in flight at once now."""
        return int(self._concurrency.window)

    @property
    def paused_until(self) -> float:
        """The loop's time until which nothing is sent because the server asked for a pause; may be in the past."""
        return self._paused_until

    # What follows is for `Slot`.

    def _enter(self, slot: Slot) -> bool:
        """Start the request if it need not wait; most do not."""
        if self._closed is not None:
            raise self._closed
        now = asyncio.get_running_loop().time()
        if now >= self._leased_until:
            self._lapse()
        ready_at = self._ready_at(slot)
        self._rates.refuse_too_large(slot)
        if not self._queue and not self._called and self._concurrency.room and ready_at <= now:
            self._start(slot, now)
            return True
        return False

    async def _wait(self, slot: Slot) -> None:
        future = self._queue.add(slot, slot.request.rank)
        self._wake()
        try:
            if future.done():  # awaiting it would not yield: it would overtake requests that were called before
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

    def _ready_at(self, slot: Slot) -> float:
        return max(self._paused_until, self._rates.ready_at(slot))

    def _start(self, slot: Slot, now: float) -> None:
        slot.number = self._next_number
        self._next_number += 1
        self._rates.take(slot, now)
        self._concurrency.enter()

    def _wake(self) -> None:
        """Start the requests at the head of the queue that may start now, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._leased_until:
            self._lapse()
        while self._queue and self._concurrency.room:
            slot, future = self._queue.first()
            if not future.done():  # else cancelled, its task not yet run
                ready_at = self._ready_at(slot)
                if ready_at > now:
                    if ready_at == inf:
                        self.starved()  # the next lease wakes the queue
                    else:
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

    def _lapse(self) -> None:
        """The lease has ended, and no other has come."""
        self._leased_until = inf
        self._rates.lapse(asyncio.get_running_loop().time())
        if self._max_concurrency is not None:
            self._concurrency.lease(0)

    def _leave(self) -> None:
        self._concurrency.leave()
        if self._queue:
            self._wake()

    def _settle(self, slot: Slot, usage: Usage, reported: ServerLimits | None) -> None:
        now = asyncio.get_running_loop().time()
        self._concurrency.succeeded()
        self._count(slot, usage, now)
        if reported is not None:
            self._hear(slot, believable(reported, usage), now)

    def _count(self, slot: Slot, usage: Usage, now: float) -> None:
        self._tokens_used += usage.prompt_tokens + usage.completion_tokens
        self._rates.count(slot, usage, now)

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
                self._rates.tokens.give_back(slot.estimate.output, now)
        if error.server_limits is not None:
            self._hear(slot, error.server_limits, now)

    def _reject(self, slot: Slot, error: Transient, now: float) -> None:
        self._rejected += 1
        self._rates.tokens.give_back(slot.charge, now)
        if slot.number >= self._unrejected_from:
            self._unrejected_from = self._next_number
            self._rates.reject(now)
        if error.retry_after_s is None or not slot.explained_by(error.server_limits):
            self._concurrency.failed(slot.number, next_number=self._next_number, clear=True)

    def _hear(self, slot: Slot, reported: ServerLimits, now: float) -> None:
        unlimited = not self._rates.known
        self._rates.hear(slot, reported, now)
        if unlimited and self._rates.known:
            self._concurrency.open()


class Slot(Counted):
    """One request's turn at an endpoint. Call `settle` or `fail` once, when the request has ended.

    Leaving without either (a cancellation, another error) frees the place but keeps the reserved tokens, because the
    server may have counted them.
    """

    __slots__ = ("_ended", "_limit", "number")

    def __init__(self, limit: Limit, request: Request) -> None:
        super().__init__(request)
        self.number = 0  # in the order of sending, from 1; 0 while it waits
        self._limit = limit
        self._ended = False

    async def __aenter__(self) -> Self:
        if not self._limit._enter(self):
            await self._limit._wait(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit._leave()

    def settle(self, usage: Usage, reported: ServerLimits | None = None) -> None:
        """The request was answered: correct the counts by its true cost and by the limits that the server stated."""
        if not self._ended:
            self._ended = True
            self._limit._settle(self, usage, reported)

    def fail(self, error: Transient) -> None:
        """The attempt failed: pause for as long as the server asks, and send less if it is overloaded."""
        if not self._ended:
            self._ended = True
            self._limit._fail(self, error)


def _check(**limits: float | None) -> None:
    for name, value in limits.items():
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(f"{name} is {value}: set it above 0, or leave it out so that it is learned from replies")
