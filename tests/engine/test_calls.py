from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from fake_disk import answer, request, virtually
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calls import LINGER_S, Tally, batched, metered
from engine.errors import Fatal, GristmillError, Permanent
from engine.requests import Call, Reply, Request, Usage
from engine.shards import total
from engine.signals import Stopped
from engine.virtualtime import run_virtual


def embed(*texts: str, to: str = "embedding") -> Request:
    return Request(to=to, texts=list(texts), characters=sum(map(len, texts)))


def embedding(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)))]


class Embedder:
    """Answers with the vectors in reverse order, as a server may; refuses a batch that holds a bad text."""

    def __init__(self, *, bad: Sequence[str] = (), prompt_tokens: int = 101, cost_usd: float = 0.07) -> None:
        self.bad = set(bad)
        self.requests: list[Request] = []
        self.usage = Usage(requests=1, prompt_tokens=prompt_tokens, cost_usd=cost_usd)

    async def __call__(self, request: Request) -> Reply:
        self.requests.append(request)
        await asyncio.sleep(1)
        texts = request.texts
        if self.bad & set(texts):
            raise Permanent("bad text", kind="bad_text")
        return Reply(vectors=[embedding(text) for text in texts], usage=self.usage)

    @property
    def sizes(self) -> list[int]:
        return [len(request.texts) for request in self.requests]


async def outcomes(call: Call, requests: Sequence[Request]) -> list[Reply | BaseException]:
    """What becomes of requests that are made together."""
    return await asyncio.gather(*map(call, requests), return_exceptions=True)


def vectors(reply: Reply | BaseException) -> list[list[float]]:
    assert isinstance(reply, Reply), reply
    return [list(vector) for vector in reply.vectors]


# batched


@virtually
async def test_batches_are_filled() -> None:
    """What comes together goes out in as few requests as the size allows, and each gets its own vector."""
    embedder = Embedder()
    texts = [f"text {'x' * number}" for number in range(70)]
    replies = await outcomes(batched(embedder, size=32), [embed(text) for text in texts])
    assert embedder.sizes == [32, 32, 6]
    assert [vectors(reply) for reply in replies] == [[embedding(text)] for text in texts]


@virtually
async def test_a_batch_waits_a_little() -> None:
    """What comes within the time that a batch waits joins it; what comes later does not, and waits no longer either."""
    embedder, loop = Embedder(), asyncio.get_running_loop()
    join = batched(embedder, size=8)
    async with asyncio.TaskGroup() as tasks:
        for delay_s in [0, LINGER_S / 2, LINGER_S * 1.5]:
            await asyncio.sleep(delay_s)
            tasks.create_task(join(embed(f"{delay_s}")))
    assert embedder.sizes == [2, 1]
    assert loop.time() == pytest.approx(LINGER_S * 3 + 1)


@virtually
async def test_several_texts_in_one_request() -> None:
    """A request of several texts gets its own vectors, in the order of its texts."""
    embedder = Embedder()
    replies = await outcomes(batched(embedder, size=4), [embed("a", "bb"), embed("ccc"), embed("d", "ee", "fff")])
    assert embedder.sizes == [6]
    assert [vectors(reply) for reply in replies] == [
        [embedding("a"), embedding("bb")],
        [embedding("ccc")],
        [embedding("d"), embedding("ee"), embedding("fff")],
    ]


@settings(max_examples=50)
@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(0, 10_000),
    st.floats(0, 5),
)
def test_shares_add_up(texts: list[str], size: int, tokens: int, cost: float) -> None:
    """What a batch cost is divided among its members without loss: tokens exactly, dollars to 1e-9; each counts as one."""
    embedder = Embedder(prompt_tokens=tokens, cost_usd=cost)
    replies = run_virtual(outcomes(batched(embedder, size=size), [embed(text) for text in texts]))
    usages = [reply.usage for reply in replies if isinstance(reply, Reply)]
    assert len(usages) == len(texts)
    assert all(usage.prompt_tokens >= 0 and usage.cost_usd >= 0 for usage in usages)
    shared, paid = total(usages), total([embedder.usage] * len(embedder.requests))
    assert (shared.requests, shared.prompt_tokens) == (len(texts), paid.prompt_tokens)
    assert shared.cost_usd == pytest.approx(paid.cost_usd, abs=1e-9)


@virtually
async def test_one_bad_text_costs_one_record() -> None:
    """A refused batch is sent again one by one, so that only the bad text fails."""
    embedder = Embedder(bad=["bad"])
    replies = await outcomes(batched(embedder, size=8), [embed(text) for text in ["a", "bad", "cc", "ddd"]])
    assert embedder.sizes == [4, 1, 1, 1, 1]
    assert isinstance(replies[1], Permanent)
    assert [vectors(replies[place]) for place in (0, 2, 3)] == [[embedding(text)] for text in ["a", "cc", "ddd"]]


@virtually
async def test_a_bad_text_alone_is_not_sent_twice() -> None:
    """A batch of one that is refused is not sent again."""
    embedder = Embedder(bad=["bad"])
    replies = await outcomes(batched(embedder, size=8), [embed("bad")])
    assert isinstance(replies[0], Permanent)
    assert embedder.sizes == [1]


@pytest.mark.parametrize("error", [Stopped("stopping"), Fatal("bad key")])
@pytest.mark.parametrize("after_refusal", [False, True])
@virtually
async def test_stop_and_fatal_reach_every_member(error: GristmillError, after_refusal: bool) -> None:
    """What ends the run ends every member of the batch, nobody waits for ever."""
    turns: list[GristmillError] = [Permanent("no", kind="bad")] if after_refusal else []

    async def call(request: Request) -> Reply:
        raise turns.pop() if turns else error

    replies = await outcomes(batched(call, size=8), [embed(text) for text in "abc"])
    assert replies == [error] * 3


@virtually
async def test_what_a_failed_batch_cost_is_shared() -> None:
    """Each member bears its share of a batch that was answered in vain: of its refusal, and of what ended the run."""
    paid = Usage(requests=1, prompt_tokens=60)
    embedder = Embedder(prompt_tokens=1, cost_usd=0)
    turns: list[GristmillError] = [Permanent("no", kind="bad", usage=paid)]

    async def refused(request: Request) -> Reply:
        if turns:
            raise turns.pop()
        return await embedder(request)

    async def stopped(request: Request) -> Reply:
        raise Stopped("stopping").costing(paid)

    texts = [embed("a"), embed("bb"), embed("ccc")]
    replies = [reply for reply in await outcomes(batched(refused, size=8), texts) if isinstance(reply, Reply)]
    assert [reply.usage.prompt_tokens for reply in replies] == [10 + 1, 20 + 1, 30 + 1]
    assert [reply.usage.requests for reply in replies] == [2, 2, 2]
    errors = [error for error in await outcomes(batched(stopped, size=8), texts) if isinstance(error, Stopped)]
    assert [error.usage.prompt_tokens for error in errors] == [10, 20, 30]


@virtually
async def test_a_cancelled_member_does_not_disturb() -> None:
    """One member that is cancelled while the batch is away leaves the others their answers."""
    sent, back = asyncio.Event(), asyncio.Event()
    embedder = Embedder()

    async def call(request: Request) -> Reply:
        sent.set()
        await back.wait()
        return await embedder(request)

    join = batched(call, size=8)
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(join(embed(text))) for text in ["a", "bb", "ccc"]]
        await sent.wait()
        made[1].cancel()
        back.set()
    assert made[1].cancelled()
    assert vectors(made[0].result()) == [embedding("a")]
    assert vectors(made[2].result()) == [embedding("ccc")]


@pytest.mark.parametrize("after_s", [LINGER_S / 2, LINGER_S * 2])
@virtually
async def test_a_cancelled_sender_leaves_no_batch_behind(after_s: float) -> None:
    """When the one who sends is cancelled, before or while the batch is away, who comes later is not kept waiting."""
    embedder = Embedder()
    join = batched(embedder, size=8)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(join(embed("a")))
        await asyncio.sleep(after_s)
        first.cancel()
    assert first.cancelled()
    async with asyncio.timeout(60):
        assert vectors(await join(embed("bb"))) == [embedding("bb")]


@virtually
async def test_only_like_requests_are_joined() -> None:
    """Requests to another model, for another purpose or of another shard never share a batch."""
    embedder = Embedder()
    join = batched(embedder, size=8)
    asked = msgspec.structs.replace(embed("c"), query=True)
    elsewhere = msgspec.structs.replace(embed("e"), group="index/1")
    await outcomes(join, [embed("a"), embed("b", to="other"), asked, embed("d"), elsewhere])
    sent = sorted((request.texts, request.to, request.query) for request in embedder.requests)
    assert sent == [
        (["a", "d"], "embedding", False),
        (["b"], "other", False),
        (["c"], "embedding", True),
        (["e"], "embedding", False),
    ]


@virtually
async def test_a_batch_has_a_bound_in_characters() -> None:
    """What would make a batch longer goes into another; one that is longer by itself goes alone."""
    embedder = Embedder()
    join = batched(embedder, size=8, characters=5)
    await outcomes(join, [embed("aa"), embed("bbb"), embed("cc"), embed("dddddddd"), embed("e")])
    assert sorted(request.texts for request in embedder.requests) == [["aa", "bbb"], ["cc", "e"], ["dddddddd"]]


async def test_chat_is_not_batched() -> None:
    """Requests that are no embeddings pass as they are."""
    sent: list[Request] = []

    async def call(request: Request) -> Reply:
        sent.append(request)
        return answer(request)

    one = request("why?")
    assert (await batched(call, size=8)(one)).text == "why?"
    assert sent == [one]
    assert sent[0] is one


# metered


async def test_metered() -> None:
    """Every answer is added up, and every request is signed with the job's name and its group."""
    sent: list[Request] = []

    async def call(request: Request) -> Reply:
        sent.append(request)
        return answer(request)

    tally = Tally()
    for text in ["a", "bbb"]:
        await metered(call, tally, "ask", group="ask/3")(request(text))
    assert tally.usage == answer(request("a")).usage + answer(request("bbb")).usage
    assert [(request.job, request.group) for request in sent] == [("ask", "ask/3")] * 2


async def test_an_answer_that_cannot_be_used_is_paid_for() -> None:
    """An error that carries what its answer cost is counted; one that came without an answer costs nothing."""
    paid = Usage(requests=1, prompt_tokens=9)
    errors = [Permanent("no", kind="bad", usage=paid), Permanent("no", kind="bad"), Stopped("stopping").costing(paid)]

    async def call(request: Request) -> Reply:
        raise errors.pop()

    tally = Tally()
    while errors:
        with pytest.raises(GristmillError):
            await metered(call, tally, "ask")(request("a"))
    assert tally.usage == paid + paid


def test_a_part_of_usage_is_taken_from_it() -> None:
    """What is left of a sum is the other part, and never less than zero dollars."""
    part = Usage(requests=1, prompt_tokens=7, completion_tokens=3, cost_usd=0.1, cached=2, reasoning=1)
    rest = Usage(requests=2, prompt_tokens=5, completion_tokens=1, cost_usd=0.0, cached=2, cache_write=4)
    assert (part + rest) - part == rest
    assert (part - Usage(cost_usd=0.1 + 1e-12)).cost_usd == 0.0
