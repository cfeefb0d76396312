"""A limit whose share comes from outside."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from limited_server import Server, a_request

from engine.demands import Share
from engine.errors import Permanent, Transient
from engine.limits import Limit, limited
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
