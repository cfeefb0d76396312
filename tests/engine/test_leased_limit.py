"""A limit whose share comes from outside."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from limited_server import Server, a_request

from engine.demands import Observed, Share, Sums
from engine.errors import Permanent, Transient
from engine.limits import Limit, Slot, limited
from engine.meters import Meter
from engine.requests import Reply, Request, ServerLimits, Usage
from engine.virtualtime import run_virtual


def test_a_share_holds_for_those_who_wait() -> None:
    """A larger share lets those who wait go earlier, a smaller one later, one of 0 not at all until the next."""

    async def scenario() -> list[float]:
        limit = Limit(requests_per_minute=600)
        limit.lease(Share(requests_per_minute=60.0), inf)
        began: list[float] = []

        async def one() -> None:
            async with limit.slot(a_request()):
                began.append(asyncio.get_running_loop().time())

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(one())
            await asyncio.sleep(1.5)  # one is gone at 1.0, half of the next one's time has passed
            limit.lease(Share(requests_per_minute=300.0), inf)
            await asyncio.sleep(0.2)  # gone at 1.6
            limit.lease(Share(requests_per_minute=0.0), inf)
            await asyncio.sleep(8.3)
            assert len(began) == 2
            limit.lease(Share(requests_per_minute=60.0), inf)
        return began

    assert run_virtual(scenario()) == pytest.approx([1.0, 1.6, 10.5, 11.5, 12.5, 13.5])


def test_nothing_starts_after_the_lease() -> None:
    """At the end of a lease nothing starts any more; those in flight end, and the next lease goes on."""

    async def scenario() -> list[float]:
        limit = Limit(requests_per_minute=6000, max_concurrency=4)
        limit.lease(Share(requests_per_minute=6000.0, max_concurrency=2, saved=True), 1.0)
        began: list[float] = []

        async def call(request: Request) -> Reply:
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.8)
            return Reply(usage=Usage(requests=1, prompt_tokens=10, completion_tokens=1))

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(_asked(limited(call, limit)))
            await asyncio.sleep(5.0)
            assert (limit.in_flight, limit.waiting, limit.window) == (0, 2, 0)
            limit.lease(Share(requests_per_minute=6000.0, max_concurrency=4), 8.0)
        return began

    assert run_virtual(scenario()) == pytest.approx([0, 0, 0.8, 0.8, 5.0, 5.0])


def test_a_process_that_slept_past_its_lease() -> None:
    """The first that asks after the end has no share, even before a timer could say so."""

    async def scenario() -> None:
        limit = Limit(requests_per_minute=6000)
        limit.lease(Share(requests_per_minute=6000.0, saved=True), 1.0)
        limit._lapsing.cancel()  # type: ignore[union-attr]  # as if the loop had not come to it yet
        await asyncio.sleep(2.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0), limit.slot(a_request()):
                pytest.fail("it was let in")

    run_virtual(scenario())


def test_what_the_server_says_corrects_no_share() -> None:
    """What remains is there for all processes: it is told once, with its age, and the level here stays."""

    async def scenario() -> None:
        limit = Limit(requests_per_minute=6000)
        limit.lease(Share(requests_per_minute=600.0, workers=4, saved=True), inf)
        server = Server(requests_per_minute=6000, latency_s=lambda chance: 0.5)
        server.requests.level = 3.0
        await limited(server, limit)(a_request())
        await asyncio.sleep(1.0)
        demand = limit.demand()
        assert demand.observed is not None
        assert demand.observed.requests == pytest.approx(3, abs=2)
        assert demand.observed.age_s == pytest.approx(1.52, abs=0.02)
        assert (demand.stated_requests, demand.requests_per_minute, demand.sums.requests) == (6000, 6000, 1)
        assert limit.per_minute[0] == 600
        assert limit.demand().observed is None
        await limited(server, limit)(a_request())
        assert limit._rates.requests._bucket.level == pytest.approx(9, abs=0.5)

    run_virtual(scenario())


def test_a_limit_that_was_just_stated() -> None:
    """Without a share yet, a process takes the part of one of all, as soon as the server states a limit."""

    async def scenario() -> None:
        limit = Limit()
        limit.lease(Share(workers=4), inf)
        assert limit.window == 4
        await limited(Server(requests_per_minute=6000), limit)(a_request())
        assert limit.per_minute[0] == 1500

    run_virtual(scenario())


def test_the_whole_limit_bounds_a_request() -> None:
    """A request is too large for an endpoint by the whole limit and not by a share of it."""

    async def scenario() -> None:
        limit = Limit(tokens_per_minute=6000)
        limit.lease(Share(tokens_per_minute=60.0, saved=True), inf)
        async with limit.slot(a_request(characters=16_000, max_output_tokens=0)):
            assert limit.in_flight == 1
        with pytest.raises(Permanent, match="admits 6000 at once"):
            async with limit.slot(a_request(characters=40_000, max_output_tokens=0)):
                pytest.fail("it was let in")

    run_virtual(scenario())


def test_a_pause_and_rejections_are_told() -> None:
    """Whoever grants shares hears of rejections, and for how long the server wants nothing."""

    async def scenario() -> None:
        limit = Limit(requests_per_minute=600)
        limit.lease(Share(requests_per_minute=600.0, saved=True), inf)

        async def call(request: Request) -> Reply:
            stated = ServerLimits(limit_requests=600, remaining_requests=0)
            raise Transient("429", kind="rate_limited", retry_after_s=7.0, server_limits=stated)

        with pytest.raises(Transient):
            await limited(call, limit)(a_request())
        await asyncio.sleep(2.0)
        demand = limit.demand()
        assert (demand.rejected, demand.paused_s) == (1, pytest.approx(5.0))

    run_virtual(scenario())


def test_what_a_server_says_of_tokens_is_told() -> None:
    """A demand has what is configured, stated, estimated and seen, of tokens as of requests."""

    async def scenario() -> None:
        limit = Limit(tokens_per_minute=60_000)
        limit.lease(Share(tokens_per_minute=30_000.0, workers=2, saved=True), inf)
        stated = ServerLimits(
            limit_requests=600,
            remaining_requests=590,
            reset_requests_s=0.0,
            limit_tokens=30_000,
            remaining_tokens=20_000,
            reset_tokens_s=0.5,
        )
        async with limit.slot(a_request(characters=800, max_output_tokens=300)) as slot:
            await asyncio.sleep(1.0)
            slot.settle(Usage(requests=1, prompt_tokens=300, completion_tokens=100), stated)
        told = limit.demand()
        assert slot.charge == 500
        assert (told.tokens_per_minute, told.stated_tokens, told.stated_requests) == (60_000, 30_000, 600)
        assert told.sums == Sums(requests=1, characters=800, output=300, most_output=300)
        assert told.tokens_per_character == limit._rates.estimates.tokens_per_character > 0.25
        assert told.observed == Observed(
            age_s=told.observed.age_s if told.observed else 0.0,
            requests=590,
            tokens=20_000,
            full_requests=591,
            full_tokens=20_500,
            near_full=True,
        )

    run_virtual(scenario())


def test_the_newest_that_a_server_said_is_told() -> None:
    """A reply to a request that was sent earlier, or one that says nothing of what remains, replaces no later one."""

    async def scenario() -> None:
        limit, usage = Limit(), Usage(requests=1)
        limit.lease(Share(workers=2), inf)
        await asyncio.sleep(5.0)
        async with limit.slot(a_request()) as early:
            await asyncio.sleep(1.0)
            async with limit.slot(a_request()) as late:
                late.settle(usage, ServerLimits(remaining_requests=10))
                early.settle(usage, ServerLimits(remaining_requests=20))
            async with limit.slot(a_request()) as silent:
                silent.settle(usage, ServerLimits(limit_requests=600))
        await asyncio.sleep(2.0)
        seen = limit.demand().observed
        assert seen is not None
        assert (seen.requests, seen.tokens, seen.age_s) == (10, None, 2.0)
        async with limit.slot(a_request()) as only, limit.slot(a_request()) as same:
            only.settle(usage, ServerLimits(remaining_tokens=50))
            same.settle(usage, ServerLimits(remaining_tokens=40))
        seen = limit.demand().observed
        assert seen is not None
        assert (seen.requests, seen.tokens) == (None, 40)

    run_virtual(scenario())


@pytest.mark.parametrize(("saved", "began"), [(True, 0.0), (False, 1.0)])
def test_a_share_of_tokens(saved: bool, began: float) -> None:
    """A share of tokens paces as one of requests does, with a second's worth at once where that was saved."""

    async def scenario() -> None:
        limit = Limit(tokens_per_minute=6000)
        limit.lease(Share(tokens_per_minute=600.0, saved=saved), inf)
        assert limit.per_minute == (0, 600)
        async with limit.slot(a_request(characters=40, max_output_tokens=0)):
            assert asyncio.get_running_loop().time() == pytest.approx(began)

    run_virtual(scenario())


@pytest.mark.parametrize(("places", "waiting", "crowded"), [(1, 0, 2), (2, 2, 0)], ids=["for a place", "for the rate"])
def test_who_waits_is_told(places: int, waiting: int, crowded: int) -> None:
    """A demand tells who waits for what, how many are in flight, and what the first who waits is charged."""

    async def scenario() -> None:
        limit = Limit(requests_per_minute=60, max_concurrency=2)
        limit.lease(Share(requests_per_minute=60.0, max_concurrency=places, saved=True), inf)
        idle = limit.demand()
        assert (idle.waiting, idle.crowded, idle.in_flight, idle.next_tokens) == (0, 0, 0, 0.0)
        assert (idle.max_concurrency, idle.paused_s, limit.used) == (2, 0.0, (0, 0))
        slot = Slot(limit, a_request(characters=400))
        async with limit.slot(a_request()), asyncio.TaskGroup() as group:
            tasks = [group.create_task(slot.__aenter__()), group.create_task(Slot(limit, a_request()).__aenter__())]
            await asyncio.sleep(0.1)
            told = limit.demand()
            assert (told.waiting, told.crowded, told.in_flight) == (waiting, crowded, 1)
            assert told.next_tokens == slot.charge > 0
            for task in tasks:
                task.cancel()
        assert (limit.in_flight, limit.waiting) == (0, 0)

    run_virtual(scenario())


def test_a_closed_limit_sets_no_timer() -> None:
    """A lease of a limit that was closed, or one without an end, does not ask to be woken."""

    async def scenario() -> None:
        limit = Limit(requests_per_minute=60)
        for until, expected in [(inf, False), (5.0, True)]:
            limit.lease(Share(requests_per_minute=60.0), until)
            assert (limit._lapsing is not None) == expected
        limit.close(Permanent("closed", kind="closed"))
        limit.lease(Share(requests_per_minute=60.0), 5.0)
        assert limit._lapsing is None

    run_virtual(scenario())


def test_each_second_of_a_share_fills_the_level_once() -> None:
    """A level that is saved survives a share of 0, and grows in no time without one."""
    meter = Meter(600)
    meter.lease(5.0, 0.0)
    assert meter.ready_at(1) == pytest.approx(0.2)
    meter.lease(0.0, 0.5)
    assert meter.ready_at(1) == inf
    meter.lease(5.0, 100.0)
    meter.take(2.0, 100.0)
    assert meter.ready_at(1) == pytest.approx(100.1)


async def _asked(call: object) -> None:
    await call(a_request())  # type: ignore[operator]
