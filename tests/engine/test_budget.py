"""The budget: caps over the run by reservation, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import Budget, PromptLength, Reservation, budgeted, most_usage
from engine.demands import Allowance, BudgetDemand
from engine.errors import BadInput, Fatal, Transient
from engine.prices import Price
from engine.requests import Call, Reply, Request, Usage
from engine.virtualtime import run_virtual

PRICE = Price(input_usd_per_million=1.0, output_usd_per_million=10.0)


def a_request(*, characters: int = 400, max_output_tokens: int = 100) -> Request:
    return Request(to="generator", characters=characters, max_output_tokens=max_output_tokens)


def answering(*, prompt_tokens: int = 100, completion_tokens: int = 50, delay_s: float = 1.0) -> Call:
    async def call(request: Request) -> Reply:
        await asyncio.sleep(delay_s)
        return Reply(usage=Usage(requests=1, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens))

    return call


async def asked(call: Call, request: Request) -> Reply:
    return await call(request)


def outcomes(call: Call, requests: int) -> list[Reply | BaseException]:
    async def scenario() -> list[Reply | BaseException]:
        return await asyncio.gather(*(call(a_request()) for _ in range(requests)), return_exceptions=True)

    return run_virtual(scenario())


def test_stops_before_the_cap() -> None:
    """Requests go out while they fit; then each gets one line that says what to raise, and the cap is not exceeded."""
    budget = Budget(tokens=1000)
    results = outcomes(budgeted(answering(), budget), 20)
    answered = [result for result in results if isinstance(result, Reply)]
    refused = [result for result in results if isinstance(result, Fatal)]
    assert len(answered) + len(refused) == 20
    assert len(answered) == 5
    assert budget.spent.prompt_tokens + budget.spent.completion_tokens == 750
    message = (
        "the budget of 1000 tokens is spent (750 used, the next request may take 300): "
        "raise budget.tokens in the configuration and run the same command again"
    )
    assert {str(error) for error in refused} == {message}


def test_a_request_waits_for_what_may_come_back() -> None:
    """A request that does not fit beside the reservations in flight waits for them, and goes when they were smaller."""

    async def scenario() -> float:
        budget = Budget(tokens=500)
        call = budgeted(answering(prompt_tokens=100, completion_tokens=10), budget)
        await asyncio.gather(call(a_request()), call(a_request()))  # each may take 300, both took 220
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 2.0


def test_survives_restarts() -> None:
    """What earlier processes spent counts."""
    spent = Usage(requests=9, prompt_tokens=900, completion_tokens=0, cost_usd=0.9)
    assert isinstance(outcomes(budgeted(answering(), Budget(tokens=1000, spent=spent)), 1)[0], Fatal)
    assert isinstance(outcomes(budgeted(answering(), Budget(usd=0.9005, spent=spent), price=PRICE), 1)[0], Fatal)
    assert isinstance(outcomes(budgeted(answering(), Budget(tokens=2000, spent=spent)), 1)[0], Reply)


def test_replies_carry_their_cost() -> None:
    """A reply without a cost gets it by the price, and it is what the budget counts."""
    budget = Budget(usd=1.0)
    (reply,) = outcomes(budgeted(answering(), budget, price=PRICE), 1)
    assert isinstance(reply, Reply)
    assert reply.usage.cost_usd == pytest.approx((100 * 1 + 50 * 10) / 1e6)
    assert budget.spent == reply.usage


def test_a_failure_gives_all_back() -> None:
    """A request that fails or is cancelled leaves nothing reserved."""

    async def failing(request: Request) -> Reply:
        await asyncio.sleep(1)
        raise Transient("500", kind="server_error")

    async def scenario() -> Budget:
        budget = Budget(tokens=300)
        with pytest.raises(Transient):
            await budgeted(failing, budget)(a_request())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await budgeted(answering(), budget)(a_request())
        await budgeted(answering(), budget)(a_request())
        return budget

    budget = run_virtual(scenario())
    assert budget.spent.requests == 1
    assert budget.in_flight == 0


def test_an_answer_in_vain_is_spent() -> None:
    """A failed attempt that was answered costs what its error says, priced like any; the next is reserved anew."""

    async def empty(request: Request) -> Reply:
        raise Transient("empty", kind="empty_answer", usage=Usage(requests=1, prompt_tokens=100, completion_tokens=10))

    async def scenario() -> Budget:
        budget = Budget(usd=0.0013)  # one attempt may cost 0.0012
        call = budgeted(empty, budget, price=PRICE)
        with pytest.raises(Transient) as told:
            await call(a_request())
        assert told.value.usage.cost_usd == pytest.approx(0.0002)
        assert told.value.kind == "empty_answer"
        with pytest.raises(Fatal, match=r"the budget of \$0.00 is spent \(\$0.0002 paid"):
            await call(a_request())
        return budget

    budget = run_virtual(scenario())
    assert budget.spent.requests == 1
    assert budget.in_flight == 0


def test_a_cancelled_waiter_lets_the_next_go() -> None:
    """Cancelling a request that waits for the budget does not stop those behind it."""

    async def scenario() -> bool:
        budget = Budget(tokens=500)
        call = budgeted(answering(), budget)
        async with asyncio.TaskGroup() as group:
            group.create_task(asked(call, a_request()))
            await asyncio.sleep(0)
            waiting = group.create_task(asked(call, a_request(max_output_tokens=300)))
            behind = group.create_task(asked(call, a_request(characters=100, max_output_tokens=1)))
            await asyncio.sleep(0.1)
            started_before = budget.in_flight
            waiting.cancel()
            await asyncio.sleep(0.1)
            assert (started_before, budget.in_flight) == (1, 2)
            return (await behind).usage.requests == 1

    assert run_virtual(scenario())


@pytest.mark.parametrize(("usd", "tokens"), [(0.0, None), (None, 0), (-1.0, None)])
def test_a_cap_must_be_above_zero(usd: float | None, tokens: int | None) -> None:
    """A cap of nothing is a mistake, and the message names the setting."""
    with pytest.raises(BadInput, match=r"budget\.(usd|tokens)"):
        Budget(usd=usd, tokens=tokens)


def test_dollars_need_a_price() -> None:
    """A budget in dollars with a model of unknown price is refused, not guessed."""
    with pytest.raises(BadInput, match="input_usd_per_million"):
        budgeted(answering(), Budget(usd=1.0))


@pytest.mark.slow
@settings(max_examples=100)
@given(
    cap=st.integers(200, 5000),
    plans=st.lists(
        st.tuples(st.floats(0, 3), st.integers(2, 600), st.integers(0, 300), st.floats(0.1, 2), st.sampled_from("ofc")),
        max_size=25,
    ),
)
def test_the_cap_holds_in_any_interleaving(cap: int, plans: list[tuple[float, int, int, float, str]]) -> None:
    """Whatever succeeds, fails or is cancelled: the cap is never exceeded, every request ends, nothing stays reserved."""
    budget = Budget(tokens=cap)

    async def one(ask_at: float, characters: int, most_output: int, takes_s: float, end: str) -> None:
        async def call(request: Request) -> Reply:
            await asyncio.sleep(takes_s)
            if end == "f":
                raise Transient("500", kind="server_error")
            usage = Usage(requests=1, prompt_tokens=characters // 4, completion_tokens=most_output // 2)
            return Reply(usage=usage)

        await asyncio.sleep(ask_at)
        try:
            async with asyncio.timeout(takes_s / 2 if end == "c" else None):
                await budgeted(call, budget)(a_request(characters=characters, max_output_tokens=most_output))
        except (Transient, TimeoutError, Fatal):
            pass

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(one(*plan))

    run_virtual(scenario())
    assert budget.spent.prompt_tokens + budget.spent.completion_tokens <= cap
    assert budget.in_flight == 0


def test_each_kind_of_token_has_its_price() -> None:
    """A usage costs the sum over its kinds of tokens; a kind without a price has that of input or output."""
    usage = Usage(requests=1, prompt_tokens=1000, completion_tokens=100, cached=300, cache_write=200, reasoning=40)
    each = Price(
        input_usd_per_million=2,
        output_usd_per_million=8,
        cached_input_usd_per_million=0.5,
        cache_write_usd_per_million=3,
        reasoning_usd_per_million=16,
        batch_discount=0.5,
    )
    assert each.usd(usage) == pytest.approx((500 * 2 + 300 * 0.5 + 200 * 3 + 60 * 8 + 40 * 16) / 1e6, rel=1e-12)
    assert each.usd(usage, batch=True) == pytest.approx(each.usd(usage) / 2, rel=1e-12)
    assert PRICE.usd(usage) == pytest.approx((1000 * 1 + 100 * 10) / 1e6, rel=1e-12)
    assert each.most_usd(prompt_tokens=1000, completion_tokens=100) == pytest.approx(4600 / 1e6, rel=1e-12)
    cheap = Price(input_usd_per_million=0.2, output_usd_per_million=0.1)
    assert cheap.most_usd(prompt_tokens=1000, completion_tokens=100) == pytest.approx(210 / 1e6, rel=1e-12)


async def test_dollars_in_flight_count() -> None:
    """Dollars are reserved for all that is in flight, given back by what each did not cost, and counted up to the cap."""
    budget = Budget(usd=1.0)
    most = Usage(requests=1, cost_usd=0.4)
    async with budget.reserve(most) as first, budget.reserve(most) as second:
        third = asyncio.create_task(_spend(budget, most, paid=0.4))
        await asyncio.sleep(0)
        assert not third.done()  # it would need 1.2
        first.settle(Usage(requests=1, cost_usd=0.2))
        await third
        second.settle(Usage(requests=1, cost_usd=0.4))
    assert budget.spent.cost_usd == pytest.approx(1.0)
    with pytest.raises(Fatal, match=r"the budget of \$1\.00 is spent"):
        await _spend(budget, most, paid=0.0)


async def test_the_cap_itself_may_be_spent() -> None:
    """A request that costs exactly what is left goes, also after others have left nothing reserved."""
    budget = Budget(usd=0.3)
    await _spend(budget, Usage(requests=1, cost_usd=0.2), paid=0.1)
    await _spend(budget, Usage(requests=1, cost_usd=0.2), paid=0.2)
    assert budget.spent.cost_usd == pytest.approx(0.3)


async def _spend(budget: Budget, most: Usage, *, paid: float) -> None:
    async with budget.reserve(most) as reservation:
        reservation.settle(Usage(requests=1, cost_usd=paid))


def test_prompts_are_reserved_by_the_densest_seen() -> None:
    """A prompt is reserved as a token for two characters, then as a quarter more than the most tokens a character seen."""
    reserved: list[int] = []

    class Watched(Budget):
        def reserve(self, most: Usage) -> AbstractAsyncContextManager[Reservation]:
            reserved.append(most.prompt_tokens)
            return super().reserve(most)

    answers = iter((100, 80, 160, 0))

    async def call(request: Request) -> Reply:
        return Reply(usage=Usage(requests=1, prompt_tokens=next(answers)))

    async def scenario() -> None:
        one_after_another = budgeted(call, Watched(tokens=10**6))
        for _ in range(4):
            await one_after_another(a_request(characters=400))

    run_virtual(scenario())
    assert reserved == [200, 125, 125, 200]


# What was begun before, and what grows.


def test_what_was_begun_before_counts() -> None:
    """What is held from before leaves less room; a request waits for it, and goes once it has turned out cheaper."""

    async def scenario() -> None:
        budget = Budget(tokens=1000)
        held = budget.hold(Usage(prompt_tokens=900))
        call = asyncio.create_task(asked(budgeted(answering(), budget), a_request()))
        await asyncio.sleep(10)
        assert not call.done()
        held.settle(Usage(requests=1, prompt_tokens=100))
        assert (await call).usage.requests == 1
        assert budget.spent.prompt_tokens == 200

    run_virtual(scenario())


def test_nobody_waits_for_what_is_passive() -> None:
    """What only the run itself can settle makes no request wait for ever: it is refused."""

    async def scenario() -> None:
        budget = Budget(tokens=1000)
        budget.hold(Usage(prompt_tokens=900), passive=True)
        with pytest.raises(Fatal, match="budget of 1000 tokens is spent"):
            await asked(budgeted(answering(), budget), a_request())

    run_virtual(scenario())


def test_a_reservation_grows_while_there_is_room() -> None:
    """Rows are added to one reservation until the cap; the next waits until another is settled."""

    async def scenario() -> None:
        budget = Budget(tokens=1000)
        whole, other = budget.hold(Usage()), budget.hold(Usage(prompt_tokens=500))
        for _ in range(5):
            await budget.extend(Usage(prompt_tokens=100), lambda: whole)
        assert whole.most.prompt_tokens == 500
        more = asyncio.create_task(budget.extend(Usage(prompt_tokens=100), lambda: whole))
        await asyncio.sleep(1)
        assert not more.done()
        budget.free(other)
        await more
        assert whole.most.prompt_tokens == 600
        whole.settle(Usage(prompt_tokens=550))
        assert budget.spent.prompt_tokens == 550
        assert budget.in_flight == 0

    run_virtual(scenario())


def test_the_price_of_a_row() -> None:
    """A row of a batch costs less by the discount, whatever its tokens are; a price that is not set stays unset."""
    price = Price(
        input_usd_per_million=2.0, output_usd_per_million=8.0, cached_input_usd_per_million=1.0, batch_discount=0.5
    )
    usage = Usage(requests=1, prompt_tokens=1000, completion_tokens=100, cached=400)
    assert price.in_batches().usd(usage) == pytest.approx(price.usd(usage, batch=True))
    assert price.in_batches().cache_write_usd_per_million is None


async def test_the_call_gets_the_request() -> None:
    """What is within the budget is passed on unchanged, also a request without text."""
    seen: list[Request] = []

    async def call(request: Request) -> Reply:
        seen.append(request)
        return Reply(usage=Usage(requests=1, prompt_tokens=1))

    request = a_request(characters=0)
    await budgeted(call, Budget(tokens=1000))(request)
    assert seen == [request]


async def test_after_a_refusal_nothing_is_bought() -> None:
    """Once a request was refused, a smaller one that would fit is refused too: the run is ending."""
    budget = Budget(usd=1.0)
    for cost in (1.5, 0.1):
        with pytest.raises(Fatal, match=r"the budget of \$1\.00 is spent"):
            await _spend(budget, Usage(requests=1, cost_usd=cost), paid=0.0)


async def test_one_reservation_is_settled_once_and_frees_its_own_dollars() -> None:
    """A second settling counts nothing, and what others have reserved stays reserved."""
    budget = Budget(usd=1.0)
    most = Usage(requests=1, cost_usd=0.4)
    async with budget.reserve(most) as first, budget.reserve(most) as second:
        for _ in range(2):
            first.settle(Usage(requests=1, cost_usd=0.1))
        assert budget.spent == Usage(requests=1, cost_usd=0.1)
        large = asyncio.create_task(_spend(budget, Usage(requests=1, cost_usd=0.7), paid=0.0))
        await asyncio.sleep(0)
        assert not large.done(), "0.1 + 0.4 + 0.7 is above the cap"
        large.cancel()
        await _spend(budget, Usage(requests=1, cost_usd=0.45), paid=0.0)
        large = asyncio.create_task(_spend(budget, Usage(requests=1, cost_usd=0.7), paid=0.0))
        second.settle(Usage(requests=1))
        await large


async def test_a_waiter_that_is_cancelled_as_it_is_let_in_frees_its_reservation() -> None:
    """A request may be cancelled between the moment there is room for it and its next step: nothing stays reserved."""
    budget = Budget(usd=1.0)
    most = Usage(requests=1, cost_usd=0.8)
    async with budget.reserve(most) as first:
        waiting = asyncio.create_task(_spend(budget, most, paid=0.0))
        await asyncio.sleep(0)
        first.settle(Usage(requests=1))
        waiting.cancel()
        await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert budget.in_flight == 0


# Where others share it.


def test_an_estimate_goes_by_the_densest_prompt() -> None:
    """A prompt likely has 0.3 tokens a character, and as many as the densest seen once one was; at most, half a token."""
    prompts, asking = PromptLength(), a_request(characters=400, max_output_tokens=100)
    assert most_usage(asking, None, prompts) == Usage(requests=1, prompt_tokens=200, completion_tokens=100)
    assert prompts.likely(asking) == 120
    prompts.learn(asking, Usage(requests=1, prompt_tokens=80))
    assert prompts.likely(asking) == 80


async def test_what_a_process_states_of_its_budget() -> None:
    """What is paid, reserved and allowed; never less is allowed than what is paid and reserved, whatever was granted."""
    budget = Budget(usd=10.0, tokens=1000)

    def part(share: float) -> Usage:
        return Usage(requests=1, cost_usd=share, prompt_tokens=round(60 * share), completion_tokens=round(40 * share))

    def stated() -> BudgetDemand:
        demand = budget.demand()
        return msgspec.structs.replace(demand, allowed_usd=round(demand.allowed_usd, 9))

    assert stated() == BudgetDemand()
    budget.lease(Allowance(usd=2.0, tokens=200))
    async with budget.reserve(part(1.0)) as first:
        reserved = Usage(cost_usd=1.0, prompt_tokens=100)
        assert stated() == BudgetDemand(reserved=reserved, allowed_usd=2.0, allowed_tokens=200, active=True)
        first.settle(part(0.5))
    assert stated() == BudgetDemand(spent=part(0.5), allowed_usd=2.0, allowed_tokens=200)
    second = budget.hold(part(0.4))
    budget.lease(Allowance(usd=0.1, tokens=10))
    budget.free(second)
    assert stated() == BudgetDemand(spent=part(0.5), allowed_usd=0.9, allowed_tokens=90)
    budget.hold(part(0.6), passive=True)
    reserved = Usage(cost_usd=0.6, prompt_tokens=60)
    assert stated() == BudgetDemand(spent=part(0.5), reserved=reserved, allowed_usd=1.1, allowed_tokens=110)


@pytest.mark.parametrize("unit", ["usd", "tokens"])
async def test_an_allowance_counts_where_there_is_a_cap(unit: str) -> None:
    """What fits goes at once, whatever it costs in the unit without a cap; what does not fit waits for a larger allowance."""
    budget = Budget(usd=10.0) if unit == "usd" else Budget(tokens=1000)
    budget.lease(Allowance(usd=1.0) if unit == "usd" else Allowance(tokens=100))
    part = Usage(requests=1, cost_usd=1.0, prompt_tokens=60, completion_tokens=40)

    async def pay() -> None:
        async with budget.reserve(part) as reservation:
            reservation.settle(part)

    await asyncio.wait_for(pay(), 1.0)
    waiting = asyncio.create_task(pay())
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.lease(Allowance(usd=3.0) if unit == "usd" else Allowance(tokens=300))
    await asyncio.wait_for(waiting, 1.0)
