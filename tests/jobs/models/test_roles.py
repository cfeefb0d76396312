from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from engine.budget import Budget
from engine.errors import BadInput, Fatal, Transient
from engine.events import AttemptFailed, Event
from engine.requests import Reply, Request
from engine.signals import Stop, Stopped
from engine.testing import chat_reply
from engine.virtualtime import run_virtual
from jobs.config import Config, Model
from jobs.models import llama_server as local
from jobs.models import providers
from jobs.models.chat import chat, text
from jobs.models.embeddings import embedding, vectors
from jobs.models.openai import endpoint
from jobs.models.roles import LOCAL_SLOTS, ModelCalls, check, check_connections, slots
from jobs.run.model_names import model_name
from jobs.simulator import Fault, Seen, simulated_endpoint


def request(role: str, prompt: str = "Say something.") -> Request:
    return chat(role, [{"role": "user", "content": prompt}], max_tokens=500)


def configured(url: str, **changes: dict[str, Any]) -> Config:
    """All four roles at `url`; `changes` are settings of single roles."""
    models = {
        role: {
            "model": "simulated-embedding" if role == "embedding" else "simulated-chat",
            "base_url": url,
            "api_key_env": "",
            **changes.get(role, {}),
        }
        for role in ("generator", "base", "judge", "embedding")
    }
    return Config.model_validate({"models": models})


@asynccontextmanager
async def opened(
    config: Config,
    *,
    budget: Budget | None = None,
    stop: Stop | None = None,
    hook: Any = None,
    tuned: str | None = None,
) -> AsyncIterator[ModelCalls]:
    async with ModelCalls(
        config,
        budget=budget or Budget(usd=None, tokens=None, spent=None),
        weights=Path("weights.gguf"),
        stop=stop or Stop(),
        hook=hook or (lambda _: None),
        tuned=lambda: tuned,
    ) as calls:
        yield calls


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What each endpoint would send, with its address, instead of sending it."""
    seen: list[tuple[str, dict[str, Any]]] = []

    async def note(self: endpoint.Endpoint, request: Request) -> Reply:
        seen.append((str(self._url), self.codec.body(request)))
        return chat_reply("An answer.")

    monkeypatch.setattr(endpoint.Endpoint, "__call__", note)
    return seen


async def test_files_of_a_connection_are_checked_before_anything_is_sent() -> None:
    """A certificate that is not there is refused by the check that comes before a run, with the section's name."""
    with pytest.raises(BadInput, match=r"ca_file of \[models\.judge\] names none\.pem"):
        await check_connections(
            configured("http://127.0.0.1:9/v1", judge={"base_url": "https://m.test/v1", "ca_file": "none.pem"})
        )


def test_a_local_model_has_no_batches() -> None:
    """`batch = true` for a model on this machine is refused in a line that names its section."""
    local = {"model": "local:a.gguf", "batch": True}
    with pytest.raises(BadInput, match=r"\[models\.judge\] has batch = true, and its model is local"):
        check(configured("http://127.0.0.1:9/v1", judge=local))


def test_a_provider_without_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch = true` for a provider that has none is refused before anything is parsed or sent."""
    monkeypatch.setitem(providers.PROVIDERS, "plain", "contextlib:nullcontext")
    with pytest.raises(BadInput, match=r"\[models\.judge\] has batch = true, and the provider 'plain' has no batches"):
        check(configured("http://127.0.0.1:9/v1", judge={"provider": "plain", "batch": True}))
    check(configured("http://127.0.0.1:9/v1", judge={"provider": "plain"}, base={"batch": True}))


async def test_each_role_has_its_model(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """A request goes to the model of the role that it names."""
    config = configured("http://127.0.0.1:9/v1", judge={"model": "strict", "base_url": "http://127.0.0.1:8/v1"})
    async with opened(config) as calls:
        for role in ("generator", "judge", "base"):
            await calls(request(role))
    assert [(url, body["model"]) for url, body in sent] == [
        ("http://127.0.0.1:9/v1", "simulated-chat"),
        ("http://127.0.0.1:8/v1", "strict"),
        ("http://127.0.0.1:9/v1", "simulated-chat"),
    ]


async def test_roles_of_one_model_keep_their_settings(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """Two roles with the same model at the same address are sent each with its own temperature."""
    config = configured("http://127.0.0.1:9/v1", generator={"temperature": 0.7}, judge={"temperature": "default"})
    async with opened(config) as calls:
        for role in ("generator", "judge", "base"):
            await calls(request(role))
    assert [body.get("temperature") for _, body in sent] == [0.7, None, 0.0]


async def test_a_candidate(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """A candidate answers at its own address, with its own settings; an error names its section."""
    candidate = {"model": "rival", "base_url": "http://127.0.0.1:8/v1", "api_key_env": "", "temperature": 0.5}
    models = configured("http://127.0.0.1:9/v1").models.model_dump()
    config = Config.model_validate({"models": {**models, "candidates": {"other": candidate}}})
    async with opened(config) as calls:
        await calls(request("candidates.other"))
    ((url, body),) = sent
    assert (url, body["model"], body["temperature"]) == ("http://127.0.0.1:8/v1", "rival", 0.5)
    keyless = {**candidate, "api_key_env": "NO_SUCH_KEY_IS_SET"}
    with pytest.raises(BadInput, match=r"\[models\.candidates\.other\] needs a key"):
        check(Config.model_validate({"models": {**models, "candidates": {"other": keyless}}}))


async def test_each_model_is_priced_by_its_own_price(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """What a candidate's answer costs is by the candidate's price, and the budget counts it so."""
    models = configured("http://127.0.0.1:9/v1", base={"input_usd_per_million": 1, "output_usd_per_million": 1})
    candidate = {"model": "rival", "api_key_env": "", "input_usd_per_million": 10, "output_usd_per_million": 10}
    config = Config.model_validate({"models": {**models.models.model_dump(), "candidates": {"other": candidate}}})
    async with opened(config, budget=Budget(usd=1)) as calls:
        costs = [(await calls(request(section))).usage.cost_usd for section in ("base", "candidates.other")]
    assert costs[0] > 0
    assert costs[1] == pytest.approx(10 * costs[0])


async def test_the_tuned_model(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """The tuned model answers under its own name with the address and settings of the base; without one, say so."""
    config = configured("http://127.0.0.1:9/v1", base={"temperature": 0.3})
    async with opened(config, tuned="ft:simulated-chat") as calls:
        await calls(request("tuned"))
        await calls(request("base"))
    assert [(body["model"], body["temperature"]) for _, body in sent] == [
        ("ft:simulated-chat", 0.3),
        ("simulated-chat", 0.3),
    ]
    async with opened(config) as calls:
        with pytest.raises(Fatal, match="run gristmill finetune first"):
            await calls(request("tuned"))


def test_the_budget_counts_answers_in_vain() -> None:
    """Answers without text are paid for like the one that ends them, in the reply's usage and in the budget."""
    budget = Budget(tokens=10_000)

    async def asked() -> Reply:
        empty = lambda seen: Fault(kind="null") if seen.attempt < 2 else None
        async with (
            simulated_endpoint(fault=empty) as server,
            opened(configured(server.base_url), budget=budget) as calls,
        ):
            return await calls(request("generator"))

    reply = run_virtual(asked())
    assert reply.usage == budget.spent
    assert reply.usage.requests == 3
    assert reply.usage.prompt_tokens % 3 == 0 < reply.usage.prompt_tokens


async def test_roles_of_one_model_share_a_limit() -> None:
    """Concurrency is a limit of the model, not of the role."""
    limits = {"max_concurrency": 2}
    async with simulated_endpoint(latency_mean_s=0.01) as server:
        config = configured(server.base_url, generator=limits, judge=limits)
        async with opened(config) as calls:
            asked = (calls(request(role, f"Prompt {n}.")) for n in range(8) for role in ("generator", "judge"))
            replies = await asyncio.gather(*asked)
        assert all(map(text, replies))
        assert server.counters.most_in_flight == 2


async def test_embeddings_are_batched() -> None:
    """Embedding requests that come together travel together, up to the batch size, and each gets its own vector."""
    async with simulated_endpoint() as server:
        config = configured(server.base_url, embedding={"batch_size": 4})
        async with opened(config) as calls:
            replies = await asyncio.gather(*(calls(embedding([f"text {n}"])) for n in range(8)))
            alone = await calls(embedding(["text 5"]))
        assert server.counters.requests["embeddings"] == 3
    assert vectors(replies[5]) == vectors(alone)
    assert len({tuple(vectors(reply)[0]) for reply in replies}) == 8


def test_faults_are_retried() -> None:
    """What another attempt may mend is tried again, and the hook is told."""
    events: list[Event] = []

    def fault(seen: Seen) -> Fault | None:
        return Fault(kind="status", status=503) if seen.attempt < 2 else None

    async def asked() -> Reply:
        async with (
            simulated_endpoint(fault=fault) as server,
            opened(configured(server.base_url), hook=events.append) as c,
        ):
            return await c(request("judge"))

    assert text(run_virtual(asked()))
    assert [event.kind for event in events if isinstance(event, AttemptFailed)] == ["overloaded", "overloaded"]


def test_a_stop_ends_the_waiting() -> None:
    """A call that sleeps between attempts is let go when the run stops, and a new one is not sent."""

    async def asked() -> int:
        stop = Stop()
        async with (
            simulated_endpoint(fault=lambda _: Fault(kind="status", status=503)) as server,
            opened(configured(server.base_url), stop=stop) as calls,
        ):
            asyncio.get_running_loop().call_later(5, stop.request)
            with pytest.raises(Stopped):
                await calls(request("judge"))
            before = server.counters.requests["chat"]
            assert before > 1
            with pytest.raises(Stopped):
                await calls(request("judge"))
            return server.counters.requests["chat"] - before

    assert run_virtual(asked()) == 0


async def test_one_local_server_for_all_roles(
    sent: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles with the same local model share one server, each with its own temperature; it closes with the run."""
    servers: list[Path] = []
    closed: list[Path] = []

    class Server:
        base_url, api_key = "http://127.0.0.1:7/v1", "its own"

        def __init__(self, path: Path, **_: Any) -> None:
            self.path = path

        async def __aenter__(self) -> Self:
            servers.append(self.path)
            return self

        async def __aexit__(self, *_: object) -> None:
            closed.append(self.path)

    monkeypatch.setattr(local, "LocalServer", Server)
    config = Config.model_validate({"models": {"judge": {"temperature": 0.5}}})
    async with opened(config) as calls:
        await asyncio.gather(*(calls(request(role)) for role in ("generator", "base", "judge") for _ in range(3)))
        assert closed == []
    assert servers == closed == [Path("weights.gguf")]
    assert sorted(body["temperature"] for _, body in sent) == [0.0] * 6 + [0.5] * 3


async def test_a_local_file_that_is_not_there() -> None:
    """A model file that is missing is bad input that names it; the embedding cannot be a file."""
    config = Config.model_validate({"models": {"judge": {"model": "local:/no/such.gguf"}}})
    async with opened(config) as calls:
        with pytest.raises(BadInput, match=r"there is no model file /no/such\.gguf"):
            await calls(request("judge"))
    config = Config.model_validate({"models": {"embedding": {"model": "local:/no/such.gguf"}}})
    async with opened(config) as calls:
        with pytest.raises(BadInput, match="not a local file"):
            await calls(embedding(["text"]))


def test_what_is_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not set is bad input before anything is sent; local models want neither key nor price."""
    monkeypatch.delenv("SOME_KEY", raising=False)
    config = configured("http://127.0.0.1:9/v1", judge={"api_key_env": "SOME_KEY"})
    with pytest.raises(BadInput, match=r"\[models\.judge\] needs a key: set the environment variable SOME_KEY"):
        check(config)
    monkeypatch.setenv("SOME_KEY", " \n")
    with pytest.raises(BadInput, match="SOME_KEY"):
        check(config)
    monkeypatch.setenv("SOME_KEY", "secret")
    check(config)
    check(Config.model_validate({"budget": {"usd": 1.0}}))


PRICE = {"input_usd_per_million": 2.0, "output_usd_per_million": 8.0}


@pytest.mark.parametrize(
    ("prices", "generator", "missing"),
    [
        ({"simulated-chat": PRICE, "simulated-embedding": {"input_usd_per_million": 0.1}}, {}, None),
        ({"simulated-chat": dict.fromkeys(PRICE, 0), "simulated-embedding": {"input_usd_per_million": 0}}, {}, None),
        ({"simulated-chat": PRICE}, {}, "embedding"),
        ({"simulated-embedding": PRICE}, PRICE, "base"),
        ({"simulated-chat": {"input_usd_per_million": 2.0}, "simulated-embedding": PRICE}, {}, "generator"),
    ],
)
def test_a_budget_needs_every_price(prices: Any, generator: Any, missing: str | None) -> None:
    """A budget in dollars wants each model's price stated, by its role or by its name; nothing is a statement, a gap none."""
    table = {"prices": prices, "budget": {"usd": 1.0}}
    config = Config.model_validate({**configured("http://127.0.0.1:9/v1", generator=generator).model_dump(), **table})
    if missing is None:
        check(config)
        return
    with pytest.raises(
        BadInput, match=rf"\[models\.{missing}\] has no price: state .* in \[prices\.\"simulated-"
    ) as told:
        check(config)
    assert "\n" not in str(told.value)


async def test_the_price_of_a_name_holds_where_a_role_has_none() -> None:
    """What a reply costs is told by the role's own price, else by that of the model's name."""
    own = {"generator": {"input_usd_per_million": 1.0}}
    async with simulated_endpoint() as server:
        table = configured(server.base_url, **own).model_dump()
        config = Config.model_validate({**table, "prices": {"simulated-chat": PRICE}})
        async with opened(config) as calls:
            by_role, by_name = [(await calls(request(role))).usage for role in ("generator", "judge")]
    assert by_role.cost_usd == pytest.approx((by_role.prompt_tokens * 1 + by_role.completion_tokens * 8) / 1e6)
    assert by_name.cost_usd == pytest.approx((by_name.prompt_tokens * 2 + by_name.completion_tokens * 8) / 1e6)


@pytest.mark.parametrize(
    ("model", "name"),
    [("local", "the weights"), ("local:/a/b/tiny.gguf", "tiny.gguf"), ("gpt-x", "gpt-x")],
)
def test_names(model: str, name: str) -> None:
    """A local file is called by its name, wherever it lies; the embedded model by its weights."""
    assert model_name(Model(model=model), "the weights") == name


def test_slots() -> None:
    """As many records are in flight as the model answers, and as many again between attempts."""
    assert slots(Model(model="m", max_concurrency=7)) == 14
    assert slots(Model()) == 2 * LOCAL_SLOTS
    assert slots(Model(model="m")) >= 256


async def test_a_local_server_that_ended() -> None:
    """What fails at a server of ours that has ended is Fatal, since nobody starts it again; while it runs, it is retried."""

    class Server:
        ended: str | None = None

    async def broken(request: Request) -> Reply:
        raise Transient("cannot connect", kind="unreachable")

    server = Server()
    call = local.while_up(broken, server)  # type: ignore[arg-type]
    with pytest.raises(Transient):
        await call(request("base"))
    server.ended = "the server of weights.gguf was killed by SIGKILL; the system may be short of memory"
    with pytest.raises(Fatal, match="short of memory; run the same command again"):
        await call(request("base"))
