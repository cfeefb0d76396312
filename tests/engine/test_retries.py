from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from crashes import answer, request
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.events import AttemptFailed, Event
from engine.requests import Call, Reply, Request
from engine.retries import RetryPolicy, retrying
from engine.signals import Stop, Stopped
from engine.virtualtime import run_virtual

REQUEST = request("why?")


class Endpoint:
    """Raises each error in turn, then answers; notes when it was asked."""

    def __init__(self, *errors: BaseException, forever: bool = False) -> None:
        self.errors = list(errors)
        self.forever = forever
        self.times: list[float] = []

    async def __call__(self, request: Request) -> Reply:
        self.times.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors[0] if self.forever else self.errors.pop(0)
        return answer(request)


def make(endpoint: Call, policy: RetryPolicy | None = None) -> tuple[Call, list[Event]]:
    events: list[Event] = []
    return retrying(endpoint, policy or RetryPolicy(), sleep=asyncio.sleep, hook=events.append), events


def broken(kind: str = "server_error", retry_after_s: float | None = None) -> Transient:
    return Transient(f"it was {kind}", kind=kind, retry_after_s=retry_after_s)


def ends(call: Coroutine[Any, Any, Reply], error: type[GristmillError]) -> GristmillError:
    with pytest.raises(error) as raised:
        run_virtual(call)
    return raised.value


def test_first_answer_is_the_answer() -> None:
    """What succeeds at once is called once, waits for nothing and tells nothing."""
    endpoint = Endpoint()
    call, events = make(endpoint)
    assert run_virtual(call(REQUEST)).body == {"answer": "why?"}
    assert endpoint.times == [0.0]
    assert events == []


def test_retried_until_it_succeeds() -> None:
    """A transient error is tried again, and each failure is told with what it waits for."""
    endpoint = Endpoint(broken(), broken("reset"))
    call, events = make(endpoint)
    assert run_virtual(call(REQUEST)).body == {"answer": "why?"}
    assert [(event.kind, event.attempt) for event in events if isinstance(event, AttemptFailed)] == [
        ("server_error", 1),
        ("reset", 2),
    ]
    waits = [event.wait_s for event in events if isinstance(event, AttemptFailed)]
    assert endpoint.times == pytest.approx([0, waits[0], sum(waits)])


@given(st.integers(1, 10), st.floats(0, 2), st.floats(0.1, 30))
@settings(max_examples=30, deadline=None)
def test_attempts_are_bounded(attempts: int, first: float, longest: float) -> None:
    """What always fails is asked exactly `attempts` times, each wait at most `longest`, and is then permanent."""
    endpoint = Endpoint(broken("torn_body"), forever=True)
    policy = RetryPolicy(attempts=attempts, first_wait_s=first, longest_wait_s=longest)
    call, events = make(endpoint, policy)
    error = ends(call(REQUEST), Permanent)
    assert isinstance(error, Permanent)
    assert error.kind == "torn_body"
    assert str(error) == f"gave up after {attempts} attempts: it was torn_body"
    assert isinstance(error.__cause__, Transient)
    assert len(endpoint.times) == attempts
    assert len(events) == attempts - 1
    waits = [after - before for before, after in zip(endpoint.times, endpoint.times[1:], strict=False)]
    for number, wait in enumerate(waits):
        assert wait <= min(longest, first * 2**number) + 1e-9


def test_waited_out_kinds_do_not_count() -> None:
    """What a server says of itself is waited out however long it lasts, between other errors too."""
    storm = [broken("rate_limited") for _ in range(100)]
    endpoint = Endpoint(broken(), *storm, broken(), *storm, broken())
    call, events = make(endpoint, RetryPolicy(attempts=4))
    assert run_virtual(call(REQUEST)).body == {"answer": "why?"}
    assert len(endpoint.times) == 204
    assert len(events) == 203
    assert endpoint.times[-1] > 600
    endpoint = Endpoint(broken(), *storm, broken())
    call, _ = make(endpoint, RetryPolicy(attempts=2))
    error = ends(call(REQUEST), Permanent)
    assert str(error) == "gave up after 102 attempts: it was server_error"


@pytest.mark.parametrize("asked", [0.0, 0.2, 7.0, 90.0])
def test_retry_after_is_respected(asked: float) -> None:
    """Nobody comes back before the time that the server asked for, and all come back not long after it."""
    for _ in range(20):
        endpoint = Endpoint(broken("rate_limited", asked))
        call, _events = make(endpoint, RetryPolicy(first_wait_s=0.5))
        run_virtual(call(REQUEST))
        assert asked <= endpoint.times[1] <= asked + 0.5 / 8 + 1e-9


def test_waits_are_spread() -> None:
    """Calls that failed in one instant do not all come back in one instant."""
    times = set()
    for _ in range(20):
        endpoint = Endpoint(broken("rate_limited", 5.0))
        call, _ = make(endpoint)
        run_virtual(call(REQUEST))
        times.add(endpoint.times[1])
    assert len(times) > 15


@pytest.mark.parametrize("error", [Permanent("no", kind="content_filter"), Fatal("bad key"), Stopped("stopping")])
def test_only_transient_errors_are_retried(error: GristmillError) -> None:
    """Errors that another attempt cannot mend come through at once, as they are."""
    endpoint = Endpoint(error, forever=True)
    call, events = make(endpoint)
    assert ends(call(REQUEST), type(error)) is error
    assert len(endpoint.times) == 1
    assert events == []


def test_stop_ends_the_waiting() -> None:
    """A stop lets go who sleeps between two attempts, at once, and nothing more is asked."""

    async def body() -> tuple[float, int]:
        stop, loop = Stop(), asyncio.get_running_loop()
        endpoint = Endpoint(broken("overloaded", 3600.0), forever=True)
        call = retrying(endpoint, RetryPolicy(), sleep=stop.sleep, hook=lambda event: None)
        loop.call_later(10, stop.request)
        with pytest.raises(Stopped):
            await call(REQUEST)
        return loop.time(), len(endpoint.times)

    assert run_virtual(body()) == (pytest.approx(10), 1)


def test_cancelling_is_not_an_error() -> None:
    """A call that is cancelled in its attempt or in its wait is cancelled, and not tried again."""

    async def body() -> Sequence[int]:
        counts = []
        for wait_s, limit_s in [(0.0, 5.0), (3600.0, 5.0)]:
            endpoint = Endpoint(broken("overloaded", wait_s))

            async def slow(request: Request, endpoint: Endpoint = endpoint) -> Reply:
                reply = await endpoint(request)
                await asyncio.sleep(3600)
                return reply

            call, _ = make(slow)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await call(REQUEST)
            counts.append(len(endpoint.times))
        return counts

    assert run_virtual(body()) == [2, 1]


def test_calls_do_not_share_their_attempts() -> None:
    """Many calls at once through one policy count their own attempts each."""

    async def body() -> int:
        asked: dict[str, int] = {}

        async def endpoint(request: Request) -> Reply:
            key = str(request.body["prompt"])
            asked[key] = asked.get(key, 0) + 1
            if asked[key] < 3:
                raise broken()
            return answer(request)

        call, _ = make(endpoint, RetryPolicy(attempts=3))
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(call(request(str(number))))
        return sum(asked.values())

    assert run_virtual(body()) == 150
