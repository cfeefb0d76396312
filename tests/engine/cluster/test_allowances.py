"""A budget that several processes share by allowances, in virtual time."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import Budget
from engine.cluster.allowances import Allowances
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.leases import Leases
from engine.demands import Allowance, BudgetDemand, Grant
from engine.errors import Fatal
from engine.requests import Usage
from engine.virtualtime import run_virtual


class Provider:
    """Its own books: what was asked is paid, whoever hears the answer."""

    def __init__(self) -> None:
        self.paid = Usage()


class Process:
    """One of several that pay from one budget, and hear of the head each second."""

    def __init__(self, name: str, leases: Leases, caps: dict[str, float | int], delay_s: float = 0.02) -> None:
        self.name = name
        self.starved = asyncio.Event()
        self.budget = Budget(**caps)  # type: ignore[arg-type]
        self.holder = Leaseholder(self.budget, starved=self.starved.set)
        self.refused: list[str] = []
        self.answered = 0
        self._leases = leases
        self._delay_s = delay_s
        self._beats = asyncio.create_task(self._beat())
        self._tasks: list[asyncio.Task[None]] = []

    def ask(self, provider: Provider, most: Usage, share: float, takes_s: float) -> asyncio.Task[None]:
        task = asyncio.create_task(self._ask(provider, most, share, takes_s))
        self._tasks.append(task)
        return task

    def kill(self) -> None:
        self._beats.cancel()
        for task in self._tasks:
            task.cancel()

    async def _ask(self, provider: Provider, most: Usage, share: float, takes_s: float) -> None:
        try:
            async with self.budget.reserve(most) as reservation:
                cost = _part(most, share)
                provider.paid += cost
                await asyncio.sleep(takes_s)
                reservation.settle(cost)
                self.answered += 1
        except Fatal as error:
            self.refused.append(str(error))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.starved.clear()
            demand = self.holder.demand()
            await asyncio.sleep(self._delay_s)
            grant = self._leases.grant(self.name, demand, loop.time())
            await asyncio.sleep(self._delay_s)
            self.holder.take(grant)
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.starved.wait()


def _part(most: Usage, share: float) -> Usage:
    return Usage(requests=1, cost_usd=most.cost_usd * share, prompt_tokens=int(most.prompt_tokens * share))


def a_cost(dollars: float) -> Usage:
    return Usage(requests=1, cost_usd=dollars, prompt_tokens=int(1000 * dollars))


def test_all_that_fits_is_spent() -> None:
    """Four processes spend the cap to less than one request, and end by the line that one process would say."""

    async def scenario() -> tuple[Usage, list[str], int]:
        provider, leases = Provider(), Leases(workers=4, now=0.0, usd=1.0)
        processes = [Process(f"w{i}", leases, {"usd": 1.0}) for i in range(4)]
        await asyncio.sleep(0.1)
        tasks = [process.ask(provider, a_cost(0.01), 0.4, 1.0) for _ in range(100) for process in processes]
        await asyncio.wait(tasks)
        refused = [line for process in processes for line in process.refused]
        for process in processes:
            process.kill()
        return provider.paid, refused, sum(process.answered for process in processes)

    paid, refused, answered = run_virtual(scenario())
    assert 0.99 < paid.cost_usd <= 1.0
    assert answered + len(refused) == 400
    assert answered == paid.requests
    line = f"the budget of $1.00 is spent (${paid.cost_usd:.4f} paid, the next request may cost $0.0100): "
    assert set(refused) == {line + "raise budget.usd in the configuration and run the same command again"}


def test_one_alone_may_spend_all() -> None:
    """What the others do not need is for the one that does; nobody waits long for an allowance."""

    async def scenario() -> tuple[float, float]:
        provider, leases = Provider(), Leases(workers=4, now=0.0, usd=1.0)
        processes = [Process(f"w{i}", leases, {"usd": 1.0}) for i in range(4)]
        await asyncio.sleep(0.1)
        for _ in range(90):
            await processes[0].ask(provider, a_cost(0.01), 1.0, 0.1)
        for process in processes:
            process.kill()
        return provider.paid.cost_usd, asyncio.get_running_loop().time()

    paid, took_s = run_virtual(scenario())
    assert paid == pytest.approx(0.9)
    assert took_s < 10.5


@pytest.mark.parametrize("part", [0.98, 0.985, 0.99, 0.995, 0.9999])
@pytest.mark.parametrize("caps", [{"usd": 1.0}, {"tokens": 1000}])
def test_nearly_all_that_is_left_goes_to_the_one_that_waits(caps: dict[str, float | int], part: float) -> None:
    """What idle processes hold ahead of their needs is given back where somebody waits for it."""

    async def scenario() -> tuple[int, float]:
        provider, leases = Provider(), Leases(workers=3, now=0.0, **caps)  # type: ignore[arg-type]
        processes = [Process(f"w{i}", leases, caps) for i in range(3)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(600):
            await processes[0].ask(provider, a_cost(part), 1.0, 0.1)
        for process in processes:
            process.kill()
        return processes[0].answered, asyncio.get_running_loop().time()

    answered, took_s = run_virtual(scenario())
    assert answered == 1
    assert took_s < 10


def test_a_lost_process() -> None:
    """What a lost process was allowed stays counted, since nobody knows what it had in flight; the others go on."""

    async def scenario() -> tuple[Usage, list[str]]:
        provider, leases = Provider(), Leases(workers=2, now=0.0, usd=1.0)
        first, second = (Process(f"w{i}", leases, {"usd": 1.0}) for i in range(2))
        await asyncio.sleep(0.1)
        tasks = [first.ask(provider, a_cost(0.02), 1.0, 60.0) for _ in range(10)]
        await asyncio.sleep(2.0)
        first.kill()
        await asyncio.wait(tasks)
        leases.lost("w0")
        tasks = [second.ask(provider, a_cost(0.02), 1.0, 1.0) for _ in range(60)]
        await asyncio.wait(tasks)
        second.kill()
        return provider.paid, second.refused

    paid, refused = run_virtual(scenario())
    assert 0.9 < paid.cost_usd <= 1.0
    assert refused[0].startswith("the budget of $1.00 is spent (")


def test_a_lower_allowance_leaves_what_is_reserved() -> None:
    """An allowance that shrinks ends nothing that is under way, and what is left of it is told."""

    async def scenario() -> None:
        budget, starved = Budget(usd=1.0), []
        budget.lease(Allowance(), lambda: starved.append(1))
        waiting = asyncio.create_task(_reserved(budget, 0.3, 5.0))
        await asyncio.sleep(1.0)
        assert starved
        assert budget.demand().first == Usage(requests=1, cost_usd=0.3)
        budget.lease(Allowance(usd=0.5))
        await asyncio.sleep(1.0)
        budget.lease(Allowance(usd=0.1))
        assert budget.demand().allowed_usd == pytest.approx(0.3)
        assert budget.demand().active
        await waiting
        assert budget.demand().allowed_usd == pytest.approx(0.3)
        budget.lease(Allowance(usd=0.0, exhausted="nothing is left"))
        with pytest.raises(Fatal, match="nothing is left"):
            await _reserved(budget, 0.1, 0.0)

    run_virtual(scenario())


def test_a_lower_allowance_counts_as_it_was() -> None:
    """What is taken from one process is given to another only when the first has said that it follows the lower allowance."""

    async def scenario() -> None:
        leases = Leases(workers=2, now=0.0, usd=1.0)
        first, second = Budget(usd=1.0), Budget(usd=1.0)
        one, other = Leaseholder(first), Leaseholder(second)

        def granted(name: str, holder: Leaseholder) -> Grant:
            return leases.grant(name, holder.demand(), asyncio.get_running_loop().time())

        waiting = asyncio.create_task(_reserved(first, 0.8, 1.0))
        await asyncio.sleep(0.1)
        high = granted("w0", one)
        assert high.allowance is not None
        assert high.allowance.usd == pytest.approx(0.8)
        waiting.cancel()
        await asyncio.sleep(0.1)
        granted("w0", one)  # a lower one, which is on its way behind the first
        later = asyncio.create_task(_reserved(second, 0.5, 1.0))
        await asyncio.sleep(0.1)
        other.take(granted("w1", other))
        assert second.in_flight == 0
        one.take(high)  # it could spend it now
        one.take(granted("w0", one))
        one.take(granted("w0", one))
        other.take(granted("w1", other))
        await later
        assert second.spent.cost_usd == 0.5

    run_virtual(scenario())


def _granted(purse: Allowances, demand: BudgetDemand, *, number: int = 1, now: float = 0.0) -> Allowance:
    return purse.grant("one", demand, applied=number - 1, number=number, now=now)


def test_an_allowance_is_what_is_used_what_waits_and_a_little() -> None:
    """Of what is free, each process has half a percent ahead here; what another may hold is not free."""
    purse = Allowances(
        usd=10.0, tokens=1000, spent=Usage(cost_usd=1.0, prompt_tokens=60, completion_tokens=40), workers=4
    )
    assert purse.outstanding == (1.0, 100)
    idle = purse.grant("other", BudgetDemand(), applied=0, number=1, now=0.0)
    assert idle == Allowance(usd=pytest.approx(0.005 * 9), tokens=4)
    assert purse.outstanding == (pytest.approx(1.045), pytest.approx(104.5))
    busy = BudgetDemand(
        spent=Usage(requests=1, cost_usd=1.0, prompt_tokens=40, completion_tokens=60),
        reserved=Usage(requests=1, cost_usd=0.5, prompt_tokens=20, completion_tokens=10),
        allowed_usd=2.0,
        allowed_tokens=200,
        waiting=Usage(requests=1, cost_usd=0.3, prompt_tokens=10, completion_tokens=20),
        first=Usage(requests=1, cost_usd=0.1, prompt_tokens=5, completion_tokens=5),
    )
    assert _granted(purse, busy) == Allowance(usd=pytest.approx(1.8 + 0.005 * 7.455), tokens=163)
    assert purse.outstanding == (pytest.approx(3.045), pytest.approx(304.5))
    capless = Allowances(usd=None, tokens=None, spent=Usage(), workers=4)
    assert _granted(capless, busy) == Allowance(usd=0.0, tokens=0)


@pytest.mark.parametrize("ends", ["it is lost", "it waits no more"])
def test_nothing_is_held_ahead_while_somebody_waits_in_vain(ends: str) -> None:
    """An idle process is allowed what it has paid, until no request waits that does not fit in what is free."""
    purse = Allowances(usd=10.0, tokens=1000, spent=Usage(), workers=2)
    too_much = Usage(requests=1, cost_usd=11.0, prompt_tokens=1100)
    waits = BudgetDemand(first=too_much, waiting=too_much, active=True)
    idle = BudgetDemand(spent=Usage(requests=1, cost_usd=1.0, prompt_tokens=100))
    assert purse.grant("waits", waits, applied=0, number=1, now=0.0) == Allowance(usd=0.0, tokens=0)
    assert purse.grant("idle", idle, applied=0, number=1, now=0.0) == Allowance(usd=1.0, tokens=100)
    if ends == "it is lost":
        purse.lost("waits")
    else:
        purse.grant("waits", BudgetDemand(), applied=1, number=2, now=1.0)
        purse.grant("waits", BudgetDemand(), applied=2, number=3, now=2.0)
    freed = purse.grant("idle", idle, applied=1, number=2, now=2.0)
    assert freed.usd > 1.05
    assert freed.tokens > 105


def test_an_allowance_lasts_for_three_seconds_at_the_present_rate() -> None:
    """A rate is measured over 0.2 s or more, and is half of what it was, or more, at each measurement."""
    purse, told = Allowances(usd=100.0, tokens=None, spent=Usage(), workers=4), 0.0
    ahead = []
    for number, (now, paid) in enumerate([(5.0, 0.0), (6.0, 1.0), (6.1, 1.0), (6.2, 1.5), (6.4, 1.5)], start=1):
        demand = BudgetDemand(spent=Usage(requests=1, cost_usd=paid), allowed_usd=told)
        told = _granted(purse, demand, number=number, now=now).usd
        ahead.append(told - paid)
    assert ahead == pytest.approx([0.5, 3.0, 3.0, 3 * 2.5, 3 * 1.25])


@pytest.mark.parametrize(
    ("workers", "first", "more"), [(4, 0.01, 0.25), (1, 0.01, 0.5), (4, 0.6, 0.6), (4, 1.0, 1.0), (4, 1.001, 0.0)]
)
def test_one_process_has_a_part_of_what_is_free(workers: int, first: float, more: float) -> None:
    """One part for each process, of two or more, or what the first who waits needs; nothing where that is not there."""
    purse = Allowances(usd=1.0, tokens=None, spent=Usage(), workers=workers)
    demand = BudgetDemand(waiting=Usage(requests=9, cost_usd=2.0), first=Usage(requests=1, cost_usd=first))
    assert _granted(purse, demand).usd == pytest.approx(more)
    counts = Allowances(usd=None, tokens=1000, spent=Usage(), workers=workers)
    demand = BudgetDemand(
        waiting=Usage(requests=9, prompt_tokens=2000), first=Usage(requests=1, prompt_tokens=round(1000 * first))
    )
    assert _granted(counts, demand).tokens == pytest.approx(1000 * more, abs=1)


@pytest.mark.parametrize(
    ("unit", "line"),
    [
        ("usd", "the budget of $1.00 is spent ($0.3000 paid, the next request may cost $0.5100): "),
        ("tokens", "the budget of 1000 tokens is spent (300 used, the next request may take 510): "),
    ],
)
def test_when_nothing_is_left(unit: str, line: str) -> None:
    """It ends when no request that waits anywhere fits beside what was paid and what lost ones were allowed."""

    def part(share: float) -> Usage:
        if unit == "usd":
            return Usage(requests=1, cost_usd=share)
        return Usage(requests=1, prompt_tokens=round(600 * share), completion_tokens=round(400 * share))

    def new() -> Allowances:
        usd, tokens = (1.0, None) if unit == "usd" else (None, 1000)
        return Allowances(usd=usd, tokens=tokens, spent=part(0.2), workers=2)

    def begun() -> Allowances:
        purse = new()
        lost = BudgetDemand(spent=part(0.1), allowed_usd=0.3, allowed_tokens=300)
        assert not purse.grant("lost", lost, applied=0, number=1, now=0.0).exhausted
        purse.lost("lost")
        purse.lost("nobody")
        return purse

    waits = BudgetDemand(first=part(0.51), waiting=part(0.51))
    assert _granted(begun(), BudgetDemand(first=part(0.5), waiting=part(0.5))).exhausted == ""
    assert _granted(begun(), BudgetDemand(reserved=part(0.01), first=part(0.5))).exhausted != "", "not to be settled"
    for other in (BudgetDemand(active=True), BudgetDemand(first=part(0.5))):
        purse = begun()
        purse.grant("other", other, applied=0, number=1, now=0.0)
        assert _granted(purse, waits).exhausted == ""
    purse = begun()
    assert _granted(purse, BudgetDemand()).exhausted == ""
    said = _granted(purse, waits, number=2).exhausted
    assert said.startswith(line)
    assert _granted(purse, BudgetDemand(), number=3).exhausted == said, "it stays so"
    assert _granted(new(), BudgetDemand(first=part(0.8))).exhausted == ""
    purse = begun()
    purse.grant("other", BudgetDemand(first=part(0.5)), applied=0, number=1, now=0.0)
    told = _granted(purse, BudgetDemand(spent=part(0.2), first=part(0.51))).exhausted
    assert line.split(", ")[1] in told, "it names the request of the one that asks"


async def _reserved(budget: Budget, dollars: float, takes_s: float) -> None:
    most = Usage(requests=1, cost_usd=dollars)
    async with budget.reserve(most) as reservation:
        await asyncio.sleep(takes_s)
        reservation.settle(most)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    caps=st.sampled_from([{"usd": 0.5}, {"tokens": 400}, {"usd": 0.5, "tokens": 300}]),
    asks=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 4), st.floats(0.002, 0.12), st.floats(0, 1), st.floats(0.1, 5)),
        max_size=40,
    ),
    kills=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 8)), max_size=3),
    delay_s=st.sampled_from([0.0, 0.05, 1.5]),
)
@pytest.mark.slow
def test_the_cap_holds_whoever_is_lost(
    seed: int,
    caps: dict[str, float | int],
    asks: list[tuple[int, float, float, float, float]],
    kills: list[tuple[int, float]],
    delay_s: float,
) -> None:
    """By the provider's books no more than the cap is paid, whoever is killed in mid-request; each request ends, and
    where one is refused, too little was left for it beside what the lost ones were allowed."""
    random.seed(seed)
    provider = Provider()

    async def scenario() -> None:
        leases = Leases(workers=3, now=0.0, **caps)  # type: ignore[arg-type]
        processes = {f"w{i}": Process(f"w{i}", leases, caps, delay_s) for i in range(3)}
        names = list(processes)
        killed = set()

        def within() -> None:
            dollars, tokens = leases.allowances.outstanding
            assert dollars <= caps.get("usd", 1e9) * (1 + 1e-6)
            assert tokens <= caps.get("tokens", 1e9)

        async def ask(who: int, at: float, dollars: float, share: float, takes_s: float) -> None:
            await asyncio.sleep(at)
            within()
            if names[who] not in killed:
                with suppress(asyncio.CancelledError):
                    await processes[names[who]].ask(provider, a_cost(dollars), share, takes_s)

        async def kill(who: int, at: float) -> None:
            await asyncio.sleep(at)
            if names[who] not in killed and len(killed) < 2:
                killed.add(names[who])
                processes[names[who]].kill()
                await asyncio.sleep(0.5)
                leases.lost(names[who])
            within()

        async with asyncio.timeout(3600), asyncio.TaskGroup() as group:
            for plan in asks:
                group.create_task(ask(*plan))
            for who, at in kills:
                group.create_task(kill(who, at))
        within()
        for process in processes.values():
            process.kill()

    run_virtual(scenario())
    assert provider.paid.cost_usd <= caps.get("usd", 1e9) * (1 + 1e-6)
    assert provider.paid.prompt_tokens <= caps.get("tokens", 1e9)
