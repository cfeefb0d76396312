from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from fake_disk import answer, prompt_of, request
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.events import AttemptFailed, Event
from engine.requests import Call, Reply, Request, Usage
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
    assert run_virtual(call(REQUEST)).text == "why?"
    assert endpoint.times == [0.0]
    assert events == []


def test_retried_until_it_succeeds() -> None:
    """A transient error is tried again, and each failure is told with what it waits for."""
    endpoint = Endpoint(broken(), broken("reset"))
    call, events = make(endpoint)
    assert run_virtual(call(REQUEST)).text == "why?"
    assert [(event.kind, event.attempt) for event in events if isinstance(event, AttemptFailed)] == [
        ("server_error", 1),
        ("reset", 2),
    ]
    waits = [event.wait_s for event in events if isinstance(event, AttemptFailed)]
    assert endpoint.times == pytest.approx([0, waits[0], sum(waits)])


@given(st.integers(1, 10), st.floats(0, 2), st.floats(0.1, 30))
@settings(max_examples=30)
def test_attempts_are_bounded(attempts: int, first: float, longest: float) -> None:
    """What always fails is asked exactly `attempts` times, each wait at most `longest`, and is then permanent."""
    endpoint = Endpoint(broken("torn_body"), forever=True)
    policy = RetryPolicy(attempts=attempts, first_wait_s=first, longest_wait_s=longest)
    call, events = make(endpoint, policy)
    error = ends(call(REQUEST), Permanent)
    assert isinstance(error, Permanent)
    assert error.kind == "torn_body"
    assert str(error) == f"gave up after {attempts} attempt{'s' * (attempts != 1)}: it was torn_body"
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
    assert run_virtual(call(REQUEST)).text == "why?"
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
            key = prompt_of(request)
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


class Outage:
    """Answers, but not from ``begins`` to ``ends``: then every request fails in the same way."""

    def __init__(self, kind: str, *, begins: float, ends: float) -> None:
        self.kind, self.begins, self.ends = kind, begins, ends
        self.asked = 0

    async def __call__(self, request: Request) -> Reply:
        await asyncio.sleep(0.5)
        self.asked += 1
        if self.begins <= asyncio.get_running_loop().time() < self.ends:
            raise broken(self.kind)
        return answer(request)


async def through(outage: Call, *, calls: int, policy: RetryPolicy | None = None) -> tuple[int, list[Event]]:
    """How many of so many calls fail that are made in ten lines, one after the other, and what was told."""
    call, events = make(outage, policy)
    failed = 0

    async def line(number: int) -> None:
        nonlocal failed
        for turn in range(calls // 10):
            try:
                await call(request(f"{number} {turn}"))
            except Permanent:
                failed += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(line(number))
    return failed, events


@pytest.mark.parametrize("kind", ["timeout", "reset", "server_error", "unreachable", "overloaded"])
def test_an_outage_is_waited_out(kind: str) -> None:
    """An endpoint that answers nobody for half an hour fails no record, says why it waits, and goes on by itself."""
    failed, events = run_virtual(through(Outage(kind, begins=3, ends=1800), calls=100))
    assert failed == 0
    told = [event for event in events if isinstance(event, AttemptFailed)]
    assert {event.kind for event in told} == {kind}
    assert max(event.wait_s for event in told) > 20


def test_an_outage_is_bounded() -> None:
    """One that never ends, or that was there from the start, fails each record after a bounded number of attempts."""
    policy = RetryPolicy(outage_s=600)
    endless, dead = Outage("reset", begins=3, ends=1e9), Outage("reset", begins=0, ends=1e9)
    assert run_virtual(through(endless, calls=100, policy=policy))[0] > 0
    assert endless.asked < 2000
    assert run_virtual(through(dead, calls=20, policy=policy))[0] == 20
    assert dead.asked == 20 * policy.attempts


def test_one_records_fault_is_no_outage() -> None:
    """A request that breaks the server every time is given up after six tries while others are answered, and alone too."""

    async def body() -> list[int]:
        asked = {"bad": 0, "alone": 0}

        async def endpoint(request: Request) -> Reply:
            await asyncio.sleep(0.1)
            key = prompt_of(request)
            if key in asked:
                asked[key] += 1
                raise broken()
            return answer(request)

        call, _ = make(endpoint)
        async with asyncio.TaskGroup() as tasks:
            bad = tasks.create_task(_failing(call, "bad"))
            for number in range(20):
                tasks.create_task(call(request(str(number))))
        await bad
        await _failing(call, "alone")
        return list(asked.values())

    assert run_virtual(body()) == [6, 6]


async def _failing(call: Call, text: str) -> None:
    with pytest.raises(Permanent):
        await call(request(text))


def test_chance_faults_wait_little() -> None:
    """While others are answered, the waits before a record's next attempts are a quarter of what they are in an outage."""

    async def body() -> list[float]:
        faults = [broken("reset") for _ in range(5)]

        async def endpoint(request: Request) -> Reply:
            await asyncio.sleep(0.01)
            if prompt_of(request) == "unlucky" and faults:
                raise faults.pop()
            return answer(request)

        async def others() -> None:
            while faults:
                await call(request("other"))

        call, events = make(endpoint)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(others())
            tasks.create_task(call(request("unlucky")))
        return [event.wait_s for event in events if isinstance(event, AttemptFailed)]

    waits = run_virtual(body())
    assert len(waits) == 5
    assert all(wait <= 0.5 * 2**number / 4 for number, wait in enumerate(waits))


EMPTY = Usage(requests=1, prompt_tokens=9, completion_tokens=0, cost_usd=0.5)


def empty() -> Transient:
    return Transient("the answer is empty", kind="empty_answer", usage=EMPTY)


def test_failed_attempts_that_were_answered_are_paid_for() -> None:
    """An answer after answers that were no use costs all of them; what was not answered costs nothing."""
    call, _ = make(Endpoint(empty(), broken("rate_limited"), broken(), empty()))
    assert run_virtual(call(REQUEST)).usage == EMPTY + EMPTY + answer(REQUEST).usage
    call, _ = make(Endpoint(broken("rate_limited"), broken()))
    assert run_virtual(call(REQUEST)).usage == answer(REQUEST).usage


def test_what_is_given_up_is_paid_for() -> None:
    """The error of a call that is given up, refused or that ends the run says what its attempts cost."""
    refused = Permanent("cut off", kind="truncated", usage=EMPTY)
    for last, kind, paid in [(empty(), Permanent, 3), (refused, Permanent, 3), (Fatal("bad key"), Fatal, 2)]:
        call, _ = make(Endpoint(empty(), empty(), last), RetryPolicy(attempts=3))
        assert ends(call(REQUEST), kind).usage == sum([EMPTY] * paid, Usage())


def test_who_is_stopped_between_attempts_has_paid() -> None:
    """A call that a stop lets go says what it paid before, each of many its own."""

    async def body() -> list[Usage]:
        stop = Stop()
        stopped = Stopped("one for all")

        async def sleep(seconds: float) -> None:
            raise stopped

        async def endpoint(request: Request) -> Reply:
            raise empty() if prompt_of(request) == "paid" else broken("rate_limited")

        call = retrying(endpoint, RetryPolicy(), sleep=sleep, hook=lambda event: None)
        stop.request()
        errors = await asyncio.gather(*(call(request(text)) for text in ["paid", "free"]), return_exceptions=True)
        return [error.usage for error in errors if isinstance(error, Stopped)]

    assert run_virtual(body()) == [EMPTY, Usage()]


def test_a_refused_key_is_waited_out_for_minutes() -> None:
    """A key that has worked and is refused for four minutes fails no record; for longer than five it ends the run."""
    failed, _ = run_virtual(through(Outage("key_refused", begins=3, ends=240), calls=100))
    assert failed == 0

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(through(Outage("key_refused", begins=3, ends=1e9), calls=100))
    assert all(
        isinstance(error, Fatal) and "key_refused, for 5 minutes" in str(error) for error in raised.value.exceptions
    )


def test_time_in_which_nothing_is_asked_is_no_silence() -> None:
    """After a failure, an hour without any call, and then one refusal of the key, the key has its minutes to recover."""

    async def body() -> str:
        endpoint = Endpoint()
        call, _ = make(endpoint, RetryPolicy(attempts=2))
        await call(REQUEST)
        endpoint.errors = [broken("wrong_shape"), broken("wrong_shape")]
        with pytest.raises(Permanent):
            await call(REQUEST)
        await asyncio.sleep(3600)
        endpoint.errors = [broken("key_refused"), broken("key_refused")]
        return (await call(REQUEST)).text

    assert run_virtual(body()) == "why?"


def test_a_series_is_not_tried_at_length() -> None:
    """After three records in a row that end by one kind, the next has one attempt; an answer ends the series."""

    async def body() -> list[int]:
        endpoint = Endpoint(broken("wrong_shape"), forever=True)
        call, _ = make(endpoint, RetryPolicy(attempts=4))
        asked = []
        for turn in range(7):
            before = len(endpoint.times)
            endpoint.errors = [] if turn == 5 else [broken("wrong_shape")]
            with contextlib.suppress(Permanent):
                await call(REQUEST)
            asked.append(len(endpoint.times) - before)
        return asked

    assert run_virtual(body()) == [4, 4, 4, 1, 1, 1, 4]
