"""The budget: caps over the run by reservation, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import Budget, Price, budgeted
from engine.errors import BadInput, Fatal, Transient
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
