"""Processes that share limits by leases, against a simulated server, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limited_server import Server, a_request, some_requests

from engine.cluster.leaseholder import Leaseholder
from engine.cluster.leases import LEASE_S, Leases
from engine.demands import Grant
from engine.errors import Transient
from engine.limits import Limit, limited
from engine.requests import Reply, Request
from engine.virtualtime import run_virtual


class Process:
    """One of several that send requests, and hear of the head each second."""

    def __init__(self, name: str, leases: Leases, server: Server, settings: dict[str, Any], delay: Callable[[], float]):
        self.name = name
        self.limit = Limit(**settings)
        self.starved = asyncio.Event()
        self.holder = Leaseholder(starved=self.starved.set)
        self.holder.add("model", self.limit)
        self.answered = 0
        self._leases = leases
        self._call = limited(server, self.limit)
        self._delay = delay
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._beat()))

    def work(self, requests: Iterator[Request], in_flight: int) -> None:
        self._tasks += [asyncio.create_task(self._work(requests)) for _ in range(in_flight)]

    @property
    def at_work(self) -> bool:
        return any(not task.done() for task in self._tasks[1:])

    def kill(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _work(self, requests: Iterator[Request]) -> None:
        for request in requests:
            while True:
                try:
                    await self._call(request)
                except Transient as error:
                    await asyncio.sleep(error.retry_after_s or 0.5)
                else:
                    break
            self.answered += 1

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.starved.clear()
            demand = self.holder.demand()
            await asyncio.sleep(self._delay())
            grant = self._leases.grant(self.name, demand, loop.time())
            await asyncio.sleep(self._delay())
            self.holder.take(grant)
            try:
                async with asyncio.timeout(1.0):
                    await self.starved.wait()
            except TimeoutError:
                pass


def drive(
    server: Server,
    requests: list[Request],
    *,
    busy: int = 4,
    idle: int = 0,
    killed_at: float | None = None,
    in_flight: int = 500,
    restarted: bool = False,
    delay_s: float = 0.02,
    watch: Callable[[Leases, list[Process]], None] | None = None,
    **settings: Any,
) -> int:
    """So many processes send all requests; returns how many were answered."""

    async def scenario() -> int:
        loop, chance = asyncio.get_running_loop(), random.Random(3)
        leases = Leases(workers=busy + idle, now=loop.time(), restarted=restarted)
        left = iter(requests)
        processes = [
            Process(f"w{i}", leases, server, settings, lambda: chance.uniform(0, delay_s)) for i in range(busy + idle)
        ]
        for process in processes:
            process.start()
        await asyncio.sleep(2 * delay_s)
        for process in processes[:busy]:
            process.work(left, in_flight)
        killed = killed_at is None
        while any(process.at_work for process in processes):
            await asyncio.sleep(0.25)
            if not killed and loop.time() >= (killed_at or 0.0):
                killed = True
                processes[0].kill()
                leases.lost("w0")
            if watch is not None:
                watch(leases, processes)
        for process in processes:
            process.kill()
        return sum(process.answered for process in processes)

    return run_virtual(scenario())


@pytest.mark.slow
def test_a_limit_of_requests() -> None:
    """Four processes share 12,000 requests a minute: as much is used as by one alone, and nothing is rejected."""
    server = Server(requests_per_minute=12_000)
    assert drive(server, some_requests(10_000), requests_per_minute=12_000.0) == 10_000
    assert server.requests_used >= 0.98
    assert server.rejected <= 6


@pytest.mark.slow
def test_one_is_lost() -> None:
    """What a lost process had is used by the others once its lease has ended."""
    server = Server(requests_per_minute=12_000)
    answered = drive(server, some_requests(8000), requests_per_minute=12_000.0, killed_at=10.0)
    assert answered >= 8000 - 500
    assert server.requests_used >= 0.95
    assert server.rejected <= 8


@pytest.mark.slow
@pytest.mark.parametrize("headers", [True, False])
def test_work_for_two_of_four(headers: bool) -> None:
    """Who has nothing to send leaves its share to the others, whether the server says what remains or not."""
    server = Server(requests_per_minute=12_000, headers=headers)
    assert drive(server, some_requests(6000), busy=2, idle=2, requests_per_minute=12_000.0) == 6000
    used = server.requests_used if headers else server.admitted / (server.requests.rate * server.last_admitted_at)
    assert used >= 0.95
    assert server.rejected <= 6


@pytest.mark.slow
@pytest.mark.parametrize("counts_most", [True, False])
@pytest.mark.parametrize("configured", [6e6, None])
def test_a_limit_of_tokens(configured: float | None, counts_most: bool) -> None:
    """The same for tokens, counted in the server's way, which all find out together; also where only headers state it."""
    server = Server(tokens_per_minute=6e6, counts_most=counts_most)
    assert drive(server, some_requests(6000), tokens_per_minute=configured) == 6000
    assert server.tokens_used >= 0.97
    assert server.rejected <= 4


@pytest.mark.slow
@pytest.mark.parametrize(("latency_s", "share"), [(0.2, 0.98), (5.0, 0.88)])
def test_a_limit_that_only_headers_state(latency_s: float, share: float) -> None:
    """Each begins small, takes its part of what the first replies state, and then what it is granted."""
    server = Server(requests_per_minute=12_000, latency_s=lambda chance: latency_s * chance.lognormvariate(0, 0.4))
    assert drive(server, some_requests(8000)) == 8000
    assert server.requests_used >= share
    assert server.rejected <= 8


@pytest.mark.slow
def test_large_requests() -> None:
    """Requests of a second's worth of tokens and more: few processes have a share at a time, so few are sent at once."""
    requests = [a_request(characters=40_000, max_output_tokens=1000) for _ in range(120)]
    server = Server(tokens_per_minute=600_000)
    assert drive(server, requests, tokens_per_minute=600_000.0, in_flight=50) == 120
    assert server.tokens_used >= 0.93
    assert server.rejected <= 3


@pytest.mark.slow
@pytest.mark.parametrize("per_minute", [60, 150])
def test_a_limit_that_is_too_small_for_all(per_minute: int) -> None:
    """Below a request a second for each some have no share for a while, and each is served in the end."""
    server = Server(requests_per_minute=per_minute)
    assert drive(server, some_requests(120), requests_per_minute=float(per_minute), in_flight=20) == 120
    assert server.requests_used >= 0.9
    assert server.rejected == 0


@pytest.mark.slow
def test_requests_in_flight() -> None:
    """A configured number in flight is divided, and never exceeded; who has nothing to send leaves its part to others."""
    server = Server()
    assert drive(server, some_requests(2000), busy=2, idle=2, max_concurrency=40) == 2000
    assert server.most_in_flight <= 40
    assert server.last_admitted_at <= 1.15 * 2000 * 1.09 / 40  # 1.09 s is the mean latency


@pytest.mark.slow
def test_fewer_in_flight_than_processes() -> None:
    """Where fewer may be in flight than there are processes, they take turns."""
    server = Server()
    assert drive(server, some_requests(60), max_concurrency=2, in_flight=15) == 60
    assert server.most_in_flight <= 2


@pytest.mark.slow
def test_others_use_the_same_key() -> None:
    """What somebody else takes of the limit is found out from what the server says, and left to them."""

    class Besieged(Server):
        async def __call__(self, request: Request) -> Reply:
            now = asyncio.get_running_loop().time()
            self.requests.refill(now)
            self.requests.level = max(0.0, self.requests.level - 100 * (now - self.taken_at))
            self.taken_at = now
            return await super().__call__(request)

        taken_at = 0.0

    server = Besieged(requests_per_minute=12_000)
    assert drive(server, some_requests(6000), requests_per_minute=12_000.0) == 6000
    assert server.admitted >= 0.93 * (100 * server.last_admitted_at + 1000)
    assert server.rejected <= 60


def test_nothing_is_told() -> None:
    """Without headers and configuration each adapts by itself to the rejections."""
    server = Server(requests_per_minute=12_000, headers=False)
    assert drive(server, some_requests(4000)) == 4000
    assert server.rejected <= 150


def test_a_new_head_waits() -> None:
    """A head that follows another grants nothing for the length of a lease, since the former one's may be in use."""
    first: list[float] = []

    def watch(leases: Leases, processes: list[Process]) -> None:
        if not first and any(process.limit.used[0] for process in processes):
            first.append(asyncio.get_running_loop().time())

    server = Server(requests_per_minute=12_000)
    assert drive(server, some_requests(200), requests_per_minute=12_000.0, restarted=True, watch=watch) == 200
    assert first[0] >= LEASE_S


class Talk:
    """Head and holders of one limit of 100 requests a second, which exchange demands and grants as a test says."""

    def __init__(self, processes: int, **settings: Any) -> None:
        self.limits = [Limit(**(settings or {"requests_per_minute": 6000.0})) for _ in range(processes)]
        self.holders = [Leaseholder() for _ in range(processes)]
        for holder, limit in zip(self.holders, self.limits, strict=True):
            holder.add("model", limit)
        self.leases = Leases(workers=processes, now=asyncio.get_running_loop().time())
        self._asking: list[set[asyncio.Task[None]]] = [set() for _ in range(processes)]

    def beat(self, who: int) -> None:
        self.holders[who].take(self.granted(who))

    def granted(self, who: int) -> Grant:
        return self.leases.grant(f"w{who}", self.holders[who].demand(), asyncio.get_running_loop().time())

    def work(self, who: int) -> None:
        """Have more requests than can ever be sent."""
        self._asking[who] |= {asyncio.create_task(self._ask(self.limits[who])) for _ in range(300)}

    def rest(self, who: int) -> None:
        for task in self._asking[who]:
            task.cancel()

    @property
    def shares(self) -> list[int]:
        """What each may send a second."""
        return [round(limit.per_minute[0] / 60) for limit in self.limits]

    async def _ask(self, limit: Limit) -> None:
        async with limit.slot(a_request(characters=40, max_output_tokens=10)):
            await asyncio.sleep(1.0)


def test_a_share_is_given_to_one_at_a_time() -> None:
    """What is taken from one process is given to another only when the first has said that it follows the lower share."""

    async def scenario() -> None:
        talk = Talk(2)
        talk.work(0)
        for _ in range(3):
            await asyncio.sleep(0.5)
            talk.beat(0)
            talk.beat(1)
        assert talk.shares == [99, 1]
        talk.work(1)
        await asyncio.sleep(0.5)
        talk.beat(1)
        assert talk.shares == [99, 1]
        lower = talk.granted(0)  # and it is on its way for long
        for _ in range(3):
            await asyncio.sleep(0.5)
            talk.beat(1)
            assert talk.shares == [99, 1]
        talk.holders[0].take(lower)
        talk.beat(0)
        talk.beat(1)
        assert talk.shares == [50, 50]
        for who in (0, 1):
            talk.rest(who)

    run_virtual(scenario())


def test_a_silent_process_keeps_its_share_for_a_lease() -> None:
    """One that is not heard, or is given up, has its share until the lease ends; others have it then, and not before."""

    async def scenario() -> None:
        for given_up in (False, True):
            talk = Talk(2)
            talk.work(0)
            talk.work(1)
            for _ in range(4):
                await asyncio.sleep(0.5)
                talk.beat(0)
                talk.beat(1)
            assert talk.shares == [50, 50]
            if given_up:
                talk.leases.lost("w0")
            for _ in range(5):
                await asyncio.sleep(0.5)
                talk.beat(1)
                assert talk.shares == [50, 50]
            await asyncio.sleep(0.6)
            talk.beat(1)
            assert talk.shares[0] == 0
            if given_up:
                assert talk.shares == [0, 100]
            for who in (0, 1):
                talk.rest(who)

    run_virtual(scenario())


def test_a_grant_counts_from_its_demand() -> None:
    """A grant that was long on its way ends as early as one that came at once; one that comes too late is none."""

    async def scenario() -> None:
        talk = Talk(1)
        first, second = talk.granted(0), talk.granted(0)
        await asyncio.sleep(2.5)
        talk.holders[0].take(first)
        assert talk.shares == [100]
        await asyncio.sleep(0.6)
        assert talk.shares == [0]
        talk.holders[0].take(second)
        assert talk.shares == [0]
        third, fourth = talk.granted(0), talk.granted(0)
        talk.holders[0].take(fourth)
        talk.holders[0].take(third)
        assert talk.shares == [100]
        assert talk.holders[0].demand().applied == fourth.number

    run_virtual(scenario())


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which process
        st.sampled_from(["beat"] * 8 + ["late", "late", "work", "work", "rest", "lost"]),
        st.floats(0, 2.5),  # until a late demand is there
        st.floats(0, 2.5),  # until its grant is there
        st.sampled_from([0.0, 0.1, 0.5, 1.5]),  # until the next step
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(
    steps=STEPS,
    limits=st.sampled_from(
        [
            {"requests_per_minute": 6000.0},
            {"requests_per_minute": 90.0},
            {"requests_per_minute": 6.0, "max_concurrency": 2},
            {"tokens_per_minute": 3000.0},
            {"requests_per_minute": 6000.0, "tokens_per_minute": 1e5, "max_concurrency": 10},
        ]
    ),
)
@pytest.mark.slow
def test_shares_never_exceed_the_limit(
    steps: list[tuple[int, str, float, float, float]], limits: dict[str, Any]
) -> None:
    """Whatever comes late, in another order or never, and whoever is lost: all shares in use are within each limit."""

    async def scenario() -> None:
        talk, lost = Talk(3, **limits), set()

        async def late(who: int, there_s: float, back_s: float) -> None:
            demand = talk.holders[who].demand()
            await asyncio.sleep(there_s)
            if who not in lost:
                grant = talk.leases.grant(f"w{who}", demand, asyncio.get_running_loop().time())
                await asyncio.sleep(back_s)
                talk.holders[who].take(grant)
                check()

        def check() -> None:
            rates = [sum(limit.per_minute[kind] for limit in talk.limits) for kind in (0, 1)]
            assert rates[0] <= limits.get("requests_per_minute", inf) * (1 + 1e-9)
            assert rates[1] <= limits.get("tokens_per_minute", inf) * (1 + 1e-9)
            if "max_concurrency" in limits:
                in_use = sum(max(limit.window, limit.in_flight) for limit in talk.limits)
                assert in_use <= limits["max_concurrency"]

        async with asyncio.TaskGroup() as group:
            for who, what, there_s, back_s, pause_s in steps:
                match what:
                    case "beat" if who not in lost:
                        talk.beat(who)
                    case "late":
                        group.create_task(late(who, there_s, back_s))
                    case "lost":
                        lost.add(who)
                        talk.leases.lost(f"w{who}")
                    case "work":
                        talk.work(who)
                    case "rest":
                        talk.rest(who)
                await asyncio.sleep(pause_s)
                check()
            await asyncio.sleep(10.0)
            check()
        for who in range(3):
            talk.rest(who)

    run_virtual(scenario())
