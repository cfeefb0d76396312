"""Two ways to put load on an endpoint, and the outcome of each request.

*Closed loop*: a fixed number of clients, each of which sends its next request when the last one is answered, as a batch
does. It shows how much an endpoint can answer.

*Open loop*: requests are due at a fixed rate, whether or not earlier ones were answered, and each is timed from the
instant at which it was due. A client that waits for answers would not send the requests that suffer most, and its
percentiles would lack them ("coordinated omission", Gil Tene); here they are included.

Each request is sent once: refusals are part of the result.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import msgspec

from engine.errors import Permanent, Transient
from engine.requests import Call, Request, ServerLimits, Usage
from engine.signals import Stop, Stopped

__all__ = ["Outcome", "closed_loop", "open_loop"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One request: when it was due, sent and finished, by the loop's clock in seconds.

    ``error`` is the kind of its error and ``reason`` the message, both "" if it was answered. ``first_token_s`` counts
    from the sending, ``retry_after_s`` from the end.
    """

    due: float
    sent: float
    ended: float
    usage: Usage = Usage()
    first_token_s: float | None = None
    error: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    limits: ServerLimits | None = None


async def closed_loop(
    call: Call, requests: Iterator[Request], *, concurrency: int, seconds: float, stop: Stop
) -> list[Outcome]:
    """Keep a fixed number of requests in flight until `requests` is used up or the time is over.

    A client obeys ``Retry-After``: otherwise refusals would use up `requests`.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    outcomes: list[Outcome] = []

    async def client() -> None:
        while not stop.requested and clock() < until and (request := next(requests, None)):
            outcome = await _outcome(call, request, due=clock())
            outcomes.append(outcome)
            if outcome.retry_after_s:
                await stop.sleep(min(outcome.retry_after_s, max(0.0, until - clock())))

    async with _first_error_alone(), asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(_until_stopped(client()))
    return outcomes


async def open_loop(
    call: Call, requests: Iterator[Request], *, rate: float, seconds: float, stop: Stop
) -> list[Outcome]:
    """Send `rate` requests per second, evenly, until `requests` is used up or the time is over.

    No request waits for another, however slow the endpoint is, so only `requests` bounds how many are in flight.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    outcomes: list[Outcome] = []

    async def send(request: Request, due: float) -> None:
        outcomes.append(await _outcome(call, request, due=due))

    async def arrivals() -> None:
        for number, request in enumerate(requests):
            due = began + number / rate
            if due >= began + seconds:
                return
            await stop.sleep(max(0.0, due - clock()))
            tasks.create_task(send(request, due))

    async with _first_error_alone(), asyncio.TaskGroup() as tasks:
        await _until_stopped(arrivals())
    return outcomes


async def _outcome(call: Call, request: Request, *, due: float) -> Outcome:
    clock = asyncio.get_running_loop().time
    sent = clock()
    try:
        reply = await call(request)
    except Transient as error:
        failed = _failed(error, due=due, sent=sent, ended=clock())
        return msgspec.structs.replace(failed, retry_after_s=error.retry_after_s, limits=error.server_limits)
    except Permanent as error:
        return _failed(error, due=due, sent=sent, ended=clock())
    return Outcome(
        due=due,
        sent=sent,
        ended=clock(),
        usage=reply.usage,
        first_token_s=reply.first_token_s,
        limits=reply.server_limits,
    )


def _failed(error: Transient | Permanent, *, due: float, sent: float, ended: float) -> Outcome:
    return Outcome(due=due, sent=sent, ended=ended, usage=error.usage, error=error.kind, reason=str(error))


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(Stopped):
        await work


@contextlib.asynccontextmanager
async def _first_error_alone() -> AsyncIterator[None]:
    """Raise one error for all requests: a wrong key or model fails each of them in the same way."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
