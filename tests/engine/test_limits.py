"""The limiter against a simulated server, in virtual time."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from limited_server import Server, a_request, some_requests

from engine.concurrency import CEILING
from engine.errors import BadInput, Permanent, Transient
from engine.estimates import Estimate, Estimates, Tariff
from engine.limits import Limit, Slot, limited
from engine.meters import Meter
from engine.rates import believable
from engine.requests import Call, Reply, Request, ServerLimits, Usage
from engine.virtualtime import run_virtual


def drive(server: Server, limit: Limit, requests: list[Request], *, workers: int = 2000) -> int:
    """Send all, retrying rejections; returns how many were answered."""

    async def scenario() -> int:
        call = limited(server, limit)
        answered = 0
        left = iter(requests)

        async def worker() -> None:
            nonlocal answered
            for request in left:
                while True:
                    try:
                        await call(request)
                    except Transient as error:
                        await asyncio.sleep(error.retry_after_s or 0.5)
                    else:
                        break
                answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
        return answered

    return run_virtual(scenario())


# At a limit: used, rejected, lost.


@pytest.mark.parametrize("told_at_reply", [False, True])
@pytest.mark.parametrize("configured", [3000.0, None])
def test_requests_a_minute(configured: float | None, told_at_reply: bool) -> None:
    """At 3,000 requests a minute at least 99 % is used, at most 0.1 % rejected, none lost; configured or learned."""
    server = Server(requests_per_minute=3000, told_at_reply=told_at_reply)
    answered = drive(server, Limit(requests_per_minute=configured), some_requests(3000))
    assert answered == 3000
    assert server.requests_used >= 0.99
    assert server.rejected <= 3


@pytest.mark.slow
@pytest.mark.parametrize("counts_most", [True, False])
@pytest.mark.parametrize("configured", [1.5e6, None])
def test_tokens_a_minute(configured: float | None, counts_most: bool) -> None:
    """The same at 1.5 M tokens a minute, counted in the server's way; which way it is has to be found out."""
    server = Server(tokens_per_minute=1.5e6, counts_most=counts_most)
    answered = drive(server, Limit(tokens_per_minute=configured), some_requests(2000))
    assert answered == 2000
    assert server.tokens_used >= 0.99
    assert server.rejected <= 2


@pytest.mark.slow
@pytest.mark.parametrize("latency_s", [0.2, 5.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_other_latencies(latency_s: float, seed: int) -> None:
    """Short and long answers make no difference once the limits are known."""

    def latency(chance: random.Random) -> float:
        return latency_s * chance.lognormvariate(0, 0.4)

    for server, limit in (
        (Server(requests_per_minute=3000, latency_s=latency, seed=seed), Limit(requests_per_minute=3000)),
        (Server(tokens_per_minute=1.5e6, latency_s=latency, seed=seed), Limit(tokens_per_minute=1.5e6)),
    ):
        assert drive(server, limit, some_requests(4000)) == 4000
        assert max(server.requests_used, server.tokens_used) >= 0.99
        assert server.rejected <= 4


@pytest.mark.slow
def test_answers_far_shorter_than_allowed() -> None:
    """Where ten times more may be written than is, and the server counts that, it is found out before a rejection."""
    servers = [drive_long_allowances(seed, counts_most=True) for seed in (1, 2, 3, 4)]
    assert min(server.tokens_used for server in servers) >= 0.99
    assert sum(server.rejected for server in servers) <= 6  # of 6,000


@pytest.mark.slow
def test_answers_far_shorter_than_allowed_and_counted_as_written() -> None:
    """There, changing sides costs a little more: what late replies tell of an older way of counting is left alone."""
    servers = [drive_long_allowances(seed, counts_most=False) for seed in (1, 2, 3, 4)]
    assert min(server.tokens_used for server in servers) >= 0.98
    assert sum(server.rejected for server in servers) <= 12


def drive_long_allowances(seed: int, *, counts_most: bool) -> Server:
    chance = random.Random(seed)
    requests = [
        a_request(characters=chance.randrange(800, 3000), max_output_tokens=2000, job="ask")
        if chance.random() < 0.5
        else a_request(characters=chance.randrange(3000, 9000), max_output_tokens=300, job="answer")
        for _ in range(1500)
    ]
    server = Server(
        tokens_per_minute=1.5e6,
        counts_most=counts_most,
        seed=seed,
        latency_s=lambda chance: 2 * chance.lognormvariate(-0.08, 0.4),
    )
    assert drive(server, Limit(tokens_per_minute=1.5e6), requests) == 1500
    return server


@pytest.mark.slow
def test_a_server_without_headers() -> None:
    """Configured limits alone reach 99 % of the rate, without a rejection, by our own books."""
    for server, limit in (
        (Server(requests_per_minute=3000, headers=False), Limit(requests_per_minute=3000)),
        (Server(tokens_per_minute=1.5e6, headers=False, counts_most=False), Limit(tokens_per_minute=1.5e6)),
    ):
        assert drive(server, limit, some_requests(4000)) == 4000
        by_requests = server.admitted / (server.requests.rate * server.last_admitted_at)
        by_tokens = server.counted / (server.tokens.rate * server.last_admitted_at)
        assert max(by_requests, by_tokens) >= 0.99
        assert server.rejected == 0


def test_a_limit_that_nobody_told() -> None:
    """Without headers and configuration, rejections alone teach the rate: none lost, few rejected."""
    server = Server(requests_per_minute=3000, headers=False)
    assert drive(server, Limit(), some_requests(4000)) == 4000
    assert server.requests_used >= 0.95
    assert server.rejected <= 80


def test_a_configured_limit_below_the_stated_one_holds() -> None:
    """A user may ask for less than the server allows; what the server has saved up is then left alone."""
    server = Server(requests_per_minute=3000)
    drive(server, Limit(requests_per_minute=600), some_requests(600))
    assert server.admitted <= 10 * server.last_admitted_at + 11
    assert server.admitted >= 0.99 * 10 * server.last_admitted_at


# What is learned.


def test_output_is_the_95th_percentile_of_recent_answers() -> None:
    """A job's reservation is its own, high, of its last hundred answers, and never above what may be written."""
    estimates = Estimates()
    for length in [5000] * 50 + list(range(1, 101)):
        usage = Usage(requests=1, prompt_tokens=1000, completion_tokens=length)
        estimates.learn(a_request(max_output_tokens=9000, job="ask"), usage)
    assert estimates.of(a_request(max_output_tokens=9000, job="ask")).output == 96
    assert estimates.of(a_request(max_output_tokens=50, job="ask")).output == 50
    assert estimates.of(a_request(max_output_tokens=9000, job="new")).output == 9000


def counting(share_of_most: bool, *, near_full: bool = False) -> float:
    """What is charged for a request of 100 + 50 (at most 1000) tokens after a server counted 40 such in its way."""
    tariff, estimate = Tariff(), Estimate(prompt=100, output=50, most_output=1000)
    remaining = 1e6
    for i in range(40):
        tariff.add(a_request(characters=400), estimate)
        remaining -= 1100 if share_of_most else 150
        sums = tariff.sums(float(i))
        tariff.learn(sums, remaining + 100.0 * i, rate=100, tokens_per_character=0.25, near_full=near_full and i > 0)
    return tariff.charge(estimate)


def test_the_servers_way_of_counting_is_found() -> None:
    """What may be written is charged where the server counts that, what is likely where it counts what was written."""
    assert counting(True) == pytest.approx(1100)
    assert counting(False) == pytest.approx(150)


def test_a_full_bucket_teaches_nothing() -> None:
    """Over a time in which the server's bucket may have been full nothing is learned; the most is charged."""
    assert counting(False, near_full=True) == 1100


# Order, caps and return, whatever happens.

PLANS = st.lists(
    st.tuples(
        st.floats(0, 20),  # when it asks
        st.integers(0, 20_000),  # characters
        st.floats(0, 5),  # how long the server takes
        st.sampled_from(["answered", "rejected", "paused", "error", "timeout", "permanent", "cancelled", "gives up"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200)
@given(
    plans=PLANS,
    requests_per_minute=st.sampled_from([None, 20.0, 120.0, 3000.0]),
    tokens_per_minute=st.sampled_from([None, 10_000.0, 600_000.0]),
    max_concurrency=st.sampled_from([None, 1, 3]),
)
# Ties within one turn of the loop, which chance seldom finds: a newcomer while a waiter is being woken, a pause too.
@pytest.mark.slow
@example(
    plans=[(0.0, 0, 0.0, "answered")] * 4 + [(5e-324, 0, 0.0, "answered")],
    requests_per_minute=None,
    tokens_per_minute=None,
    max_concurrency=3,
)
@example(
    plans=[(0.0, 0, 0.0, end) for end in ("answered", "answered", "paused", "answered")],
    requests_per_minute=None,
    tokens_per_minute=None,
    max_concurrency=3,
)
def test_invariants(
    plans: list[tuple[float, int, float, str]],
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    max_concurrency: int | None,
) -> None:
    """Order, caps, pause, return and progress hold in any interleaving of successes, failures and cancellations."""
    limit = Limit(
        requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, max_concurrency=max_concurrency
    )
    asked: list[int] = []
    started: list[int] = []
    started_at: list[float] = []
    too_large = 0
    paused_at = -1.0

    async def one(number: int, ask_at: float, characters: int, takes_s: float, end: str) -> None:
        nonlocal too_large
        loop = asyncio.get_running_loop()

        async def call(request: Request) -> Reply:
            nonlocal paused_at
            started.append(number)
            started_at.append(loop.time())
            assert limit.in_flight <= (max_concurrency or CEILING)
            assert loop.time() >= limit.paused_until or loop.time() == paused_at  # a turn once given stands
            await asyncio.sleep(takes_s)
            match end:
                case "rejected":
                    raise Transient("429", kind="rate_limited")
                case "paused":
                    paused_at = loop.time()
                    raise Transient("429", kind="rate_limited", retry_after_s=3.0)
                case "error":
                    raise Transient("500", kind="server_error")
                case "timeout":
                    raise Transient("timeout", kind="timeout")
                case "permanent":
                    raise Permanent("400", kind="refused")
            return Reply(usage=Usage(requests=1, prompt_tokens=characters // 3, completion_tokens=20))

        await asyncio.sleep(ask_at)
        asked.append(number)
        wait_s = {"cancelled": 30.0, "gives up": takes_s}.get(end)
        try:
            async with asyncio.timeout(wait_s):
                await limited(call, limit)(a_request(characters=characters, max_output_tokens=200))
        except Permanent as error:
            too_large += error.kind == "too_large"
        except (Transient, TimeoutError):
            pass

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for number, plan in enumerate(plans):
                group.create_task(one(number, *plan))

    run_virtual(scenario())
    assert limit.in_flight == 0
    assert limit.waiting == 0
    places = [asked.index(number) for number in started]
    assert places == sorted(places)
    if tokens_per_minute != 10_000.0:
        assert too_large == 0
    if requests_per_minute is not None:
        rate = requests_per_minute / 60
        for first in range(len(started_at)):
            for last in range(first, len(started_at)):
                allowed = max(1.0, rate) + rate * (started_at[last] - started_at[first])
                assert last - first + 1 <= allowed + 1e-6


@pytest.mark.slow
@settings(max_examples=200)
@given(
    per_minute=st.floats(1, 1e6),
    amounts=st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1), st.floats(0, 3)), max_size=30),
)
def test_a_meter_never_gives_more_than_its_rate(per_minute: float, amounts: list[tuple[float, float, float]]) -> None:
    """What is taken, less what is given back, stays within burst and rate over any time, with one debt at most."""
    meter = Meter(per_minute)
    rate, burst, now = per_minute / 60, max(1.0, per_minute / 60), 0.0
    taken: list[tuple[float, float]] = []
    for amount, returned, pause_s in amounts:
        now = max(now + pause_s, meter.ready_at(amount))
        meter.take(amount, now)
        taken.append((now, amount))
        meter.give_back(amount * returned, now)
        taken.append((now, -amount * returned))
    largest = max((amount for amount, *_ in amounts), default=0.0)
    for first in range(0, len(taken), 2):
        for last in range(first, len(taken), 2):
            total = sum(amount for _, amount in taken[first : last + 1])
            assert total <= max(burst, 0) + largest + rate * (taken[last][0] - taken[first][0]) + 1e-6 * (1 + total)


def test_a_rejection_empties_our_own_books() -> None:
    """A server that rejects and tells nothing has less left than we thought: nothing, and it refills at the rate."""
    meter = Meter(600)
    assert meter.ready_at(1) == 0.0
    meter.reject(5.0)
    assert meter.ready_at(1) == pytest.approx(5.1)


def test_a_large_request_is_not_overtaken() -> None:
    """Small requests that would fit wait behind a large one that does not yet."""

    async def scenario() -> list[tuple[str, float]]:
        limit = Limit(tokens_per_minute=6000)
        began: list[tuple[str, float]] = []

        async def one(name: str, tokens: int) -> None:
            async with limit.slot(a_request(characters=4 * tokens, max_output_tokens=0)):
                began.append((name, asyncio.get_running_loop().time()))

        async with asyncio.TaskGroup() as group:
            for name, tokens in (("first", 100), ("large", 3000), ("small", 1), ("small", 1)):
                group.create_task(one(name, tokens))
        return began

    assert [name for name, _ in run_virtual(scenario())] == ["first", "large", "small", "small"]


def test_a_large_request_that_gives_up_frees_the_way() -> None:
    """When the head of the queue is cancelled, the next is looked at in the same instant."""

    async def scenario() -> float:
        limit = Limit(tokens_per_minute=6000)
        async with asyncio.TaskGroup() as group:
            async with limit.slot(a_request(characters=80, max_output_tokens=0)):
                pass
            large = group.create_task(asked(limited(after_a_second, limit), characters=10_000))
            small = group.create_task(asked(limited(after_a_second, limit), characters=4))
            await asyncio.sleep(0.1)
            assert limit.waiting == 2
            large.cancel()
            await small
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == pytest.approx(1.1)


# Pauses and cuts.


def test_retry_after_pauses_everyone() -> None:
    """One reply's Retry-After holds for all, also for those that wait already, and ends at its time."""

    async def scenario() -> list[float]:
        limit = Limit(max_concurrency=2)
        began: list[float] = []

        async def call(request: Request) -> Reply:
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)
            if len(began) == 2:
                raise Transient("503", kind="overloaded", retry_after_s=7)
            return an_answer()

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(swallowed(limited(call, limit)))
        return began

    assert run_virtual(scenario()) == [0, 0, 8, 8, 9, 9]


def test_one_cut_per_episode() -> None:
    """Rejections of requests that were sent before the cut do not cut again; one sent after it does."""

    async def scenario() -> list[int]:
        limit = Limit(max_concurrency=100)
        windows: list[int] = []
        for _ in range(2):
            async with AsyncExitStack() as stack:
                slots = [await stack.enter_async_context(limit.slot(a_request())) for _ in range(limit.window)]
                for slot in slots:
                    slot.fail(Transient("429", kind="rate_limited"))
                    windows.append(limit.window)
        return windows

    windows = run_virtual(scenario())
    assert windows == [70] * 100 + [49] * 70


@pytest.mark.parametrize(
    ("requests", "tokens", "retry_after_s", "cut"),
    [
        (1, None, 1.0, False),
        (2, None, 1.0, True),
        (None, 2 * 1256 - 1, 1.0, False),
        (2, 2 * 1256, 1.0, True),
        (0, 0, None, True),
        (None, None, 1.0, True),
    ],
)
def test_a_rejection_that_a_stated_limit_explains_does_not_cut(
    requests: int | None, tokens: int | None, retry_after_s: float | None, cut: bool
) -> None:
    """The window is cut where the server does not say when to come again, or says that its limits have room."""

    async def scenario() -> None:
        limit = Limit(max_concurrency=10)
        stated = ServerLimits(limit_requests=600, remaining_requests=requests, remaining_tokens=tokens)
        async with limit.slot(a_request()) as slot:
            assert slot.charge == 1256
            slot.fail(Transient("429", kind="rate_limited", retry_after_s=retry_after_s, server_limits=stated))
        assert (limit.window < 10) == cut
        assert (limit.per_minute[0], limit.demand().rejected) == (600, 1)
        other = Limit(max_concurrency=10)
        async with other.slot(a_request()) as slot:
            slot.fail(Transient("429", kind="rate_limited", retry_after_s=1.0))
        assert other.window < 10, "nothing was stated"

    run_virtual(scenario())


def test_the_first_rejection_of_an_episode_empties_the_books() -> None:
    """They refill from then on: rejections of requests that were sent before say nothing new."""

    async def scenario() -> float:
        limit, rejection = Limit(requests_per_minute=600, tokens_per_minute=6e6), Transient("429", kind="rate_limited")
        async with limit.slot(a_request()) as one, limit.slot(a_request()) as other:
            rejected_at = asyncio.get_running_loop().time()
            one.fail(rejection)
            await asyncio.sleep(0.05)
            other.fail(rejection)
        assert limit.demand().rejected == 2
        async with limit.slot(a_request()):
            return asyncio.get_running_loop().time() - rejected_at

    assert run_virtual(scenario()) == pytest.approx(0.1)


def test_chance_failures_do_not_cut() -> None:
    """One request in ten fails by chance and the window stays; when half of them do, it is cut."""

    async def scenario() -> tuple[int, int]:
        limit = Limit(max_concurrency=100)
        chance = random.Random(1)
        for _ in range(500):
            async with limit.slot(a_request()) as slot:
                report(slot, failed=chance.random() < 0.1)
        calm = limit.window
        for _ in range(100):
            async with limit.slot(a_request()) as slot:
                report(slot, failed=chance.random() < 0.5)
        return calm, limit.window

    calm, stormy = run_virtual(scenario())
    assert calm == 100
    assert stormy < 100


def test_slow_start_doubles() -> None:
    """With nothing known the window doubles with each full round."""
    start, *windows = run_virtual(windows_over(Limit(), workers=500, seconds=5))
    assert windows == [2 * start, 4 * start, 8 * start, 16 * start]


def test_an_unused_window_does_not_grow() -> None:
    """While fewer are in flight than may be, nothing is proved and the window stays."""
    assert len(set(run_virtual(windows_over(Limit(), workers=10, seconds=20)))) == 1


def test_stated_limits_open_the_window() -> None:
    """When the server states its limits, or they are configured, these pace the requests and not the window."""
    assert Limit(requests_per_minute=100).window == CEILING
    limit = Limit()
    run_virtual(asked(limited(Server(requests_per_minute=3000), limit)))
    assert limit.window == CEILING
    assert Limit(requests_per_minute=100, max_concurrency=5).window == 5


def test_after_a_cut_the_window_grows_by_steps() -> None:
    """After a cut the window grows by the same step each round, not by doubling."""

    async def scenario() -> list[int]:
        limit = Limit(max_concurrency=100)
        async with AsyncExitStack() as stack:
            slots = [await stack.enter_async_context(limit.slot(a_request())) for _ in range(100)]
            slots[0].fail(Transient("429", kind="rate_limited"))
        return await windows_over(limit, workers=300, seconds=5)

    windows = run_virtual(scenario())
    assert windows[0] == 70
    assert all(3 <= after - before <= 4 for before, after in pairwise(windows))


def test_an_outage_is_forgotten() -> None:
    """After an endpoint was down for long, slow start leads back to what worked before."""

    async def scenario() -> list[int]:
        limit = Limit(max_concurrency=100)
        for _ in range(100):
            async with AsyncExitStack() as stack:
                slots = [await stack.enter_async_context(limit.slot(a_request())) for _ in range(limit.window)]
                for slot in slots:
                    slot.fail(Transient("503", kind="overloaded"))
        return await windows_over(limit, workers=300, seconds=8)

    windows = run_virtual(scenario())
    assert windows[0] <= 3
    assert windows[-1] >= 70


# Refused, closed, cancelled.


@pytest.mark.parametrize("learned", [False, True])
def test_too_large_is_refused_at_once(learned: bool) -> None:
    """A request that can never fit fails without waiting, with what to change; others go on."""

    async def scenario() -> None:
        limit = Limit(tokens_per_minute=None if learned else 5000)
        if learned:
            await limited(Server(tokens_per_minute=30_000, bucket_s=10), limit)(a_request(characters=40))
        with pytest.raises(
            Permanent, match=r"shorten its prompt .* lower max_tokens .* raise tokens_per_minute"
        ) as told:
            async with limit.slot(a_request(characters=40_000)):
                pytest.fail("it was let in")
        assert told.value.kind == "too_large"
        assert limit.in_flight == limit.waiting == 0
        async with limit.slot(a_request(characters=400)):
            assert limit.in_flight == 1

    run_virtual(scenario())


@pytest.mark.parametrize(
    "error",
    [
        Permanent("cut off", kind="truncated", usage=Usage(requests=1, prompt_tokens=100, completion_tokens=10)),
        Transient("empty", kind="empty_answer", usage=Usage(requests=1, prompt_tokens=100, completion_tokens=10)),
    ],
)
def test_an_answer_in_vain_settles_what_was_reserved(error: Permanent | Transient) -> None:
    """An answer that cannot be used gives back what it did not use, and teaches the estimates, like any other."""

    async def scenario() -> tuple[float, float]:
        limit = Limit(tokens_per_minute=60_000)

        async def in_vain(request: Request) -> Reply:
            raise error

        before = limit._rates.tokens._bucket.level
        with pytest.raises(type(error)):
            await limited(in_vain, limit)(a_request(characters=300, max_output_tokens=500))
        return before - limit._rates.tokens._bucket.level, limit._rates.estimates.tokens_per_character

    used, learned = run_virtual(scenario())
    assert used == pytest.approx(110)
    assert learned == pytest.approx(1 / 3, rel=0.02)


@pytest.mark.parametrize(("kind", "kept"), [("timeout", 700), ("network", 200)])
def test_a_timeout_keeps_the_output_reserved(kind: str, kept: int) -> None:
    """After a timeout the server may still be writing; where nothing is written only the prompt stays counted."""

    async def scenario() -> None:
        limit = Limit(tokens_per_minute=60_000)
        before = limit._rates.tokens._bucket.level
        async with limit.slot(a_request(characters=800, max_output_tokens=500)) as slot:
            assert slot.charge == 700
            slot.fail(Transient(kind, kind=kind))
        assert before - limit._rates.tokens._bucket.level == kept

    run_virtual(scenario())


@pytest.mark.parametrize(("stated", "believed"), [(1000, 1000), (999, 0)])
def test_a_limit_below_what_was_admitted_is_not_believed(stated: int, believed: int) -> None:
    """A server that admits a prompt above the tokens that it says to admit in a minute counts something else."""

    async def scenario() -> None:
        limit = Limit()
        async with limit.slot(a_request()) as slot:
            told = ServerLimits(limit_requests=600, limit_tokens=stated, remaining_tokens=0, reset_tokens_s=1.0)
            slot.settle(an_answer().usage, told)
        assert limit.per_minute == pytest.approx((600, believed))
        assert limit._rates.tokens.heard == bool(believed)
        assert believable(told, an_answer().usage) == (told if believed else ServerLimits(limit_requests=600))

    run_virtual(scenario())


def test_a_reply_may_leave_out_what_remains() -> None:
    """A server that states its remaining tokens in some replies only is learned from by these, and ends no run."""

    async def scenario() -> None:
        limit = Limit()
        for remaining in (30_000, None, 30_000):
            async with limit.slot(a_request()) as slot:
                slot.settle(an_answer().usage, ServerLimits(limit_tokens=60_000, remaining_tokens=remaining))
            await asyncio.sleep(10)
        assert limit.per_minute == pytest.approx((0, 60_000))

    run_virtual(scenario())


def test_what_was_used() -> None:
    """All requests that were started, and the tokens of prompts and answers together."""

    async def scenario() -> None:
        limit = Limit()
        for _ in range(2):
            await limited(after_a_second, limit)(a_request())
        async with limit.slot(a_request()):
            assert limit.used == (3, 2 * 1050)

    run_virtual(scenario())


def test_a_request_ends_once() -> None:
    """What is said of a request that has ended changes nothing."""

    async def scenario() -> None:
        limit = Limit(max_concurrency=10)
        async with limit.slot(a_request()) as slot:
            for _ in range(2):
                slot.settle(an_answer().usage)
            slot.fail(Transient("429", kind="rate_limited"))
        assert (limit.used, limit.demand().rejected) == ((1, 1050), 0)
        async with limit.slot(a_request()) as slot:
            for _ in range(2):
                slot.fail(Transient("429", kind="rate_limited"))
        assert limit.demand().rejected == 1

    run_virtual(scenario())


def test_close_releases_all_waiters() -> None:
    """Those who wait get the error at once, so do later ones; those in flight finish."""

    class Stopped(Exception):
        pass

    async def scenario() -> None:
        limit = Limit(max_concurrency=1)
        reply = None
        async with asyncio.TaskGroup() as group:
            running = group.create_task(asked(limited(after_a_second, limit)))
            waiting = [group.create_task(swallowed(limited(after_a_second, limit), Stopped)) for _ in range(5)]
            await asyncio.sleep(0.5)
            assert limit.waiting == 5
            limit.close(Stopped())
            assert limit.waiting == 0
            await asyncio.wait(waiting)
            assert asyncio.get_running_loop().time() == 0.5
            with pytest.raises(Stopped):
                await limited(after_a_second, limit)(a_request())
            reply = await running
        assert reply.usage.requests == 1
        assert limit.in_flight == 0

    run_virtual(scenario())


def test_a_turn_given_to_a_cancelled_waiter_is_passed_on() -> None:
    """A waiter cancelled in the very instant in which its turn came gives the place to the next."""

    async def scenario() -> None:
        limit = Limit(max_concurrency=1)
        async with asyncio.TaskGroup() as group:
            async with limit.slot(a_request()):
                cancelled = group.create_task(asked(limited(after_a_second, limit)))
                behind = group.create_task(asked(limited(after_a_second, limit)))
                await asyncio.sleep(0)
                assert limit.waiting == 2
            assert (limit.in_flight, limit.waiting) == (1, 1)  # the first has its turn but has not run yet
            cancelled.cancel()
            await behind
        assert limit.in_flight == 0
        with pytest.raises(StopIteration):  # nobody waits any more, so the next does not even yield
            limit.slot(a_request()).__aenter__().send(None)

    run_virtual(scenario())


def test_who_comes_as_a_turn_is_given_does_not_overtake() -> None:
    """Where a place is left, who comes starts after those whose turn has come but whose task has not run yet."""

    async def scenario() -> list[str]:
        limit, began = Limit(max_concurrency=3), []

        async def one(name: str) -> None:
            async with limit.slot(a_request()):
                began.append(name)

        async with asyncio.TaskGroup() as group:
            async with limit.slot(a_request()), limit.slot(a_request()), limit.slot(a_request()):
                for name in ("first", "second"):
                    group.create_task(one(name))
                await asyncio.sleep(0)
            await one("late")
            assert asyncio.get_running_loop().time() == 0
        with pytest.raises(StopIteration):  # nobody waits any more, so the next does not even yield
            limit.slot(a_request()).__aenter__().send(None)
        return began

    assert run_virtual(scenario()) == ["first", "second", "late"]


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "max_concurrency"])
@pytest.mark.parametrize("value", [0, inf])
def test_limits_must_be_above_zero(name: str, value: float) -> None:
    """A limit of nothing, or of no end, is a mistake, and the message names the setting."""
    with pytest.raises(BadInput, match=name):
        Limit(**{name: value})


def an_answer() -> Reply:
    return Reply(usage=Usage(requests=1, prompt_tokens=1000, completion_tokens=50))


def report(slot: Slot, *, failed: bool) -> None:
    if failed:
        slot.fail(Transient("timeout", kind="timeout"))
    else:
        slot.settle(an_answer().usage)


async def after_a_second(request: Request) -> Reply:
    await asyncio.sleep(1)
    return an_answer()


async def asked(call: Call, *, characters: int = 4000) -> Reply:
    return await call(a_request(characters=characters, max_output_tokens=0))


async def swallowed(call: Call, kind: type[Exception] = Transient) -> None:
    with suppress(kind):
        await call(a_request())


async def windows_over(limit: Limit, *, workers: int, seconds: int) -> list[int]:
    """The window in the middle of each second while `workers` send requests that take a second each."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    call = limited(after_a_second, limit)
    windows: list[int] = []

    async def worker() -> None:
        while loop.time() < end - 0.25:
            await call(a_request())

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
        await asyncio.sleep(0.5)
        for _ in range(seconds):
            windows.append(limit.window)
            assert limit.in_flight <= limit.window
            await asyncio.sleep(1)
    return windows
