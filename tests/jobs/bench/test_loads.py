from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from engine.errors import Fatal, Transient
from engine.requests import Reply, Request
from engine.signals import Stop
from engine.testing import chat_reply, scripted
from engine.virtualtime import VirtualTimeLoop, run_virtual
from jobs.bench.loads import Outcome, closed_loop, open_loop
from jobs.models.chat import chat

REPLY = chat_reply("Words.")


def requests(count: int) -> Iterator[Request]:
    return itertools.repeat(chat("bench", [{"role": "user", "content": "Say something."}], max_tokens=8), count)


class Slow:
    """A call that takes `seconds`, answers one request at a time where it is `single`, and knows its busiest moment."""

    def __init__(self, seconds: float, *, single: bool = False) -> None:
        self._seconds = seconds
        self._door = asyncio.Semaphore(1 if single else 1_000_000)
        self.in_flight = self.most = 0

    async def __call__(self, request: Request) -> Reply:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        async with self._door:
            await asyncio.sleep(self._seconds)
        self.in_flight -= 1
        return REPLY


def test_a_closed_loop_keeps_its_requests_in_flight() -> None:
    """So many are in flight and never more, each client sends when it was answered, and all are sent once."""

    async def measure() -> tuple[list[Outcome], int]:
        call = Slow(2.0)
        return await closed_loop(call, requests(12), concurrency=4, seconds=60, stop=Stop()), call.most

    outcomes, most = run_virtual(measure())
    assert [(outcome.due, outcome.sent, outcome.ended) for outcome in outcomes] == [
        (at, at, at + 2) for at in (0, 2, 4) for _ in range(4)
    ]
    assert most == 4


def test_a_closed_loop_ends_with_its_time() -> None:
    """After its seconds nothing more is sent, and what is in flight is waited for."""

    async def measure() -> list[Outcome]:
        return await closed_loop(Slow(2.0), requests(1000), concurrency=2, seconds=5, stop=Stop())

    outcomes = run_virtual(measure())
    assert [outcome.sent for outcome in outcomes] == [0, 0, 2, 2, 4, 4]
    assert outcomes[-1].ended == 6


def test_an_open_loop_keeps_its_rate() -> None:
    """Requests are sent when they are due, however slow the endpoint is, and what they waited is in their latency."""

    async def measure() -> list[Outcome]:
        return await open_loop(Slow(2.0, single=True), requests(20), rate=5, seconds=60, stop=Stop())

    outcomes = run_virtual(measure())
    assert [outcome.sent for outcome in outcomes] == pytest.approx([number / 5 for number in range(20)])
    assert [outcome.due for outcome in outcomes] == [number / 5 for number in range(20)]
    assert [outcome.ended for outcome in outcomes] == pytest.approx([2.0 * (number + 1) for number in range(20)])


def test_an_open_loop_ends_with_its_time() -> None:
    """Within its seconds as many are sent as the rate says."""

    async def measure() -> list[Outcome]:
        return await open_loop(Slow(0.1), requests(1000), rate=10, seconds=3, stop=Stop())

    assert len(run_virtual(measure())) == 30


def test_what_a_client_sends_too_late_is_not_forgiven() -> None:
    """When the client itself is held up, its requests go out late, but are timed from when they were due."""

    def held_up() -> Iterator[Request]:
        """The second request takes half a second to make, in which nothing else can run."""
        yield from requests(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop._jumping_selector.now += 0.5
        yield from requests(2)

    call = scripted(REPLY, forever=True)
    outcomes = run_virtual(open_loop(call, held_up(), rate=10, seconds=9, stop=Stop()))
    assert [outcome.due for outcome in outcomes] == pytest.approx([0.0, 0.1, 0.2])
    assert [outcome.ended - outcome.due for outcome in outcomes] == pytest.approx([0.5, 0.4, 0.3])


def test_errors_are_outcomes() -> None:
    """A refused request is counted with its kind and reason, and the others go on."""
    call = scripted(REPLY, Transient("busy", kind="overloaded"), REPLY)
    outcomes = run_virtual(closed_loop(call, requests(3), concurrency=1, seconds=60, stop=Stop()))
    assert [(outcome.error, outcome.reason) for outcome in outcomes] == [("", ""), ("overloaded", "busy"), ("", "")]


def test_a_client_comes_back_when_it_is_told_to() -> None:
    """What a server asks for in Retry-After is kept to, so that refusals do not eat up the requests."""

    async def measure() -> list[Outcome]:
        refusal = Transient("slow down", kind="rate_limited", retry_after_s=7.0)
        call = scripted(refusal, REPLY)
        return await closed_loop(call, requests(2), concurrency=1, seconds=60, stop=Stop())

    assert [outcome.sent for outcome in run_virtual(measure())] == [0, 7]


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_stop_ends_a_load(loop: str) -> None:
    """Once a stop is requested nothing more is sent; what is in flight is still answered and counted."""

    async def measure() -> list[Outcome]:
        stop = Stop()
        asyncio.get_running_loop().call_later(3.5, stop.request)
        call = Slow(1.0)
        if loop == "closed":
            return await closed_loop(call, requests(100), concurrency=1, seconds=60, stop=stop)
        return await open_loop(call, requests(100), rate=1, seconds=60, stop=stop)

    outcomes = run_virtual(measure())
    assert [(outcome.sent, outcome.ended) for outcome in outcomes] == [(at, at + 1) for at in range(4)]


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_fatal_error_is_told_once(loop: str) -> None:
    """What is wrong with the endpoint ends the load with that one error, not with a group of them."""

    async def measure() -> list[Outcome]:
        call = scripted(Fatal("the key is refused"), forever=True)
        if loop == "closed":
            return await closed_loop(call, requests(9), concurrency=3, seconds=60, stop=Stop())
        return await open_loop(call, requests(9), rate=100, seconds=60, stop=Stop())

    with pytest.raises(Fatal, match="the key is refused"):
        run_virtual(measure())
