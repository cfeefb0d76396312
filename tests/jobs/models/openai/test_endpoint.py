from __future__ import annotations

import asyncio
import contextlib
import email.utils
import gzip
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_bodies import chat_body, embeddings_body
from yarl import URL

from engine.errors import BadInput, Fatal, GristmillError, Permanent, Transient
from engine.requests import Reply, Request, ServerLimits, Usage
from engine.virtualtime import run_virtual
from jobs.config import Model
from jobs.evaluation.agreement import agreement_request, read_agreement
from jobs.models.chat import chat, text
from jobs.models.embeddings import embedding, vectors
from jobs.models.openai.endpoint import Endpoint
from jobs.models.openai.headers import duration_s
from jobs.models.providers import Target
from jobs.simulator import Fault, Seen, simulated_endpoint
from jobs.simulator.answers import count_tokens

KEY = "plain+key/0123456789"
CHAT = chat("generator", [{"role": "user", "content": "Say something."}], max_tokens=64)


def endpoint(
    url: str,
    *,
    key: str = "",
    role: str = "generator",
    reached: set[URL] | None = None,
    stream: bool = False,
    cut_off: bool = False,
    **settings: Any,
) -> Endpoint:
    model = Model.model_validate({"model": "simulated-chat", "api_key_env": "SOME_KEY", **settings})
    target = Target(
        role=role,
        model=model,
        name=model.model,
        base_url=url,
        api_key=key,
        reached=set() if reached is None else reached,
        stream=stream,
        cut_off=cut_off,
    )
    return Endpoint(target)


async def ask(url: str, request: Request = CHAT, **settings: Any) -> Reply:
    async with endpoint(url, **settings) as opened:
        return await opened(request)


@dataclass(kw_only=True)
class Canned:
    """A server that answers every request with the same response and keeps what it was sent."""

    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def answering(
    status: int, body: bytes | Any, headers: Mapping[str, str] | None = None, *, told: bool = True
) -> AsyncIterator[Canned]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    length = f"Content-Length: {len(data)}\r\n" if told else ""
    response = f"HTTP/1.1 {status} Status\r\n{length}{lines}\r\n".encode() + data
    server = Canned()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-len"))
        server.heads.append(head)
        server.bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(response)
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        yield server


async def refused(
    status: int, body: Any = b"", headers: Mapping[str, str] | None = None, *, told: bool = True, **settings: Any
) -> Any:
    async with answering(status, body, headers, told=told) as server:
        with pytest.raises(GristmillError) as caught:
            await ask(server.url, **settings)
    return caught.value


# What is sent


async def test_a_good_answer() -> None:
    """The reply holds the text and what it cost: tokens as told, dollars by the configured price."""
    async with simulated_endpoint() as server:
        reply = await ask(server.base_url, input_usd_per_million=2.0, output_usd_per_million=10.0)
    sent, got = reply.usage.prompt_tokens, reply.usage.completion_tokens
    assert text(reply)
    assert reply.usage.requests == 1
    assert sent >= count_tokens("Say something.")
    assert got == count_tokens(reply.text)
    assert reply.usage.cost_usd == pytest.approx((2 * sent + 10 * got) / 1e6)
    assert reply.server_limits is None


async def test_what_a_chat_request_holds() -> None:
    """The model's name, temperature and length are added; a key goes into the header and nowhere else."""
    async with answering(200, chat_body("Good.")) as server:
        await ask(server.url, key=KEY, temperature=0.5)
    assert server.bodies == [
        {"messages": CHAT.messages, "model": "simulated-chat", "temperature": 0.5, "max_tokens": CHAT.max_output_tokens}
    ]
    assert server.heads[0].startswith("POST /v1/chat/completions ")
    assert f"Authorization: Bearer {KEY}" in server.heads[0]


async def test_no_key_and_no_temperature() -> None:
    """Without a key there is no header for it, and temperature "default" is not sent."""
    async with answering(200, chat_body("Good.")) as server:
        await ask(server.url, temperature="default")
    assert "temperature" not in server.bodies[0]
    assert "authorization" not in server.heads[0].lower()


async def test_what_an_embedding_request_holds() -> None:
    """An embedding request has a model and its texts, but neither temperature nor length."""
    async with answering(200, embeddings_body([[1.0], [2.0]])) as server:
        reply = await ask(server.url, embedding(["one", "two"]))
    assert server.bodies == [{"input": ["one", "two"], "model": "simulated-chat"}]
    assert vectors(reply) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://API.OpenAI.com/v1", "max_completion_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
        ("http://127.0.0.1:1/api.openai.com", "max_tokens"),
    ],
)
def test_the_name_of_the_length(url: str, name: str) -> None:
    """OpenAI's own host gets max_completion_tokens, every other server max_tokens."""
    body = endpoint(url).codec.body(CHAT)
    assert {key for key in body if key.startswith("max_")} == {name}


async def test_it_must_be_entered() -> None:
    """A call before the endpoint is entered says so, instead of opening connections that nobody closes."""
    with pytest.raises(RuntimeError, match="enter the endpoint"):
        await endpoint("http://127.0.0.1:1/v1")(CHAT)


# What becomes of statuses


@pytest.mark.parametrize(
    ("status", "branch", "kind"),
    [
        (400, Permanent, "refused"),
        (408, Transient, "server_error"),
        (409, Transient, "server_error"),
        (413, Permanent, "refused"),
        (422, Permanent, "refused"),
        (425, Transient, "server_error"),
        (429, Transient, "rate_limited"),
        (500, Transient, "server_error"),
        (502, Transient, "server_error"),
        (503, Transient, "overloaded"),
        (504, Transient, "server_error"),
        (529, Transient, "overloaded"),
        (599, Transient, "server_error"),
    ],
)
async def test_statuses(status: int, branch: type[GristmillError], kind: str) -> None:
    """Each status falls into its branch under its kind, whatever its body is."""
    for body in ({"error": {"message": "No.", "code": None}}, b"<html>Bad gateway</html>", b"", b"[]", b"\xff{"):
        error = await refused(status, body)
        assert type(error) is branch
        assert error.kind == kind
        assert str(error).startswith(f"{status}: ")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "invalid_api_key", "check the environment variable SOME_KEY"),
        (403, None, "check the environment variable SOME_KEY"),
        (402, None, "the balance"),
        (404, "model_not_found", "knows no model 'simulated-chat'"),
        (429, "insufficient_quota", "quota"),
    ],
)
async def test_statuses_that_end_the_run(status: int, code: str | None, said: str) -> None:
    """A key, a model or a quota that cannot be used is Fatal, in one line that says what to do."""
    error = await refused(status, {"error": {"message": "Incorrect key.", "code": code}})
    assert type(error) is Fatal
    assert said in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "content_filter"}, "content_filter"),
        ({"code": "content_policy_violation"}, "content_filter"),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, "context_too_long"),
        ({"code": "string_above_max_length"}, "context_too_long"),
        ({"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096}, "context_too_long"),
        ({"code": ["odd"], "type": {"odd": 1}}, "refused"),
        ({"code": 7}, "refused"),
        ("only a text", "refused"),
        (None, "refused"),
    ],
)
async def test_why_a_record_was_refused(error: Any, kind: str) -> None:
    """A 400 becomes Permanent, its kind from OpenAI's code or llama.cpp's type, whatever else stands there."""
    raised = await refused(400, {"error": error})
    assert type(raised) is Permanent
    assert raised.kind == kind


async def test_quota_by_its_type() -> None:
    """A used-up quota is Fatal also where only the error's type tells it."""
    assert type(await refused(429, {"error": {"type": "insufficient_quota", "code": 429}})) is Fatal


async def test_a_scripted_fault_is_mapped() -> None:
    """What the simulated endpoint refuses arrives with its code and the time that it asks for."""

    def fault(seen: Seen) -> Fault | None:
        return (
            Fault(kind="status", status=429, code="rate_limit_exceeded", retry_after_s=1.5)
            if not seen.attempt
            else None
        )

    async with simulated_endpoint(fault=fault) as server, endpoint(server.base_url) as opened:
        with pytest.raises(Transient) as caught:
            await opened(CHAT)
        assert text(await opened(CHAT))
    assert caught.value.kind == "rate_limited"
    assert caught.value.retry_after_s == pytest.approx(1.5)


# What becomes of broken wires and odd bodies


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("reset", {"reset", "torn_body"}),
        ("short", {"torn_body"}),
        ("torn", {"torn_body"}),
        ("null", {"empty_answer"}),
        ("duplicate_keys", {"wrong_shape"}),
    ],
)
async def test_faults_that_another_attempt_may_mend(fault: str, kinds: set[str]) -> None:
    """A connection that breaks, a body that is cut, an answer without text: Transient, and the next attempt works."""

    def first(seen: Seen) -> Fault | None:
        return Fault(kind=fault) if not seen.attempt else None

    async with simulated_endpoint(fault=first) as server, endpoint(server.base_url) as opened:
        with pytest.raises(Transient) as caught:
            await opened(CHAT)
        assert caught.value.kind in kinds
        assert text(await opened(CHAT))


@pytest.mark.parametrize("fault", ["model", "huge", "slow"])
def test_faults_that_harm_nothing(fault: str) -> None:
    """Another model's name, 1 MB of answer and a late first byte are answers all the same."""

    async def asked() -> Reply:
        async with simulated_endpoint(fault=lambda _: Fault(kind=fault), huge_bytes=1_000_000) as server:
            return await ask(server.base_url)

    assert text(run_virtual(asked()))


def test_a_server_that_hangs() -> None:
    """No answer within timeout_s is Transient under its own kind."""

    async def asked() -> Reply:
        async with simulated_endpoint(fault=lambda _: Fault(kind="hang")) as server:
            return await ask(server.base_url, timeout_s=7)

    with pytest.raises(Transient, match="no answer within 7 s") as caught:
        run_virtual(asked())
    assert caught.value.kind == "timeout"


async def test_no_server() -> None:
    """A refused connection is Fatal at once, and says where and what to check."""
    with pytest.raises(
        Fatal, match=r"cannot connect to http://127\.0\.0\.1:9/v1: .* check base_url in \[models\.judge\]"
    ):
        await ask("http://user:secret@127.0.0.1:9/v1?token=hidden", role="judge")


async def test_a_server_that_went_away() -> None:
    """Where somebody answered before, a refused connection is an outage and no wrong address: Transient, and it says so."""
    async with AsyncExitStack() as serving:
        server = await serving.enter_async_context(answering(200, chat_body("Good."), {"Connection": "close"}))
        async with endpoint(server.url) as opened:
            assert text(await opened(CHAT))
            await serving.aclose()  # now nobody is there, and the client has kept no connection
            with pytest.raises(Transient, match="cannot connect to") as caught:
                await opened(CHAT)
    assert caught.value.kind == "unreachable"


async def test_endpoints_at_one_address_know_that_it_was_reached() -> None:
    """What one endpoint has reached is no wrong address for the next one of the run; elsewhere nobody is still Fatal."""
    reached: set[URL] = set()
    async with answering(200, chat_body("Good.")) as server:
        assert text(await ask(server.url, reached=reached))
    with pytest.raises(Transient, match="cannot connect to"):
        await ask(server.url, role="judge", reached=reached)
    with pytest.raises(Fatal, match="cannot connect to"):
        await ask("http://127.0.0.1:9/v1", reached=reached)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("told", [False, True])
async def test_an_answer_without_end(packed: bool, told: bool) -> None:
    """A body of 10 MB, or one that unpacks to it, is not read to its end: Transient, under its own kind."""
    body = json.dumps(chat_body("long " * 2_000_000)).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    error = await refused(200, gzip.compress(body) if packed else body, headers, told=told)
    assert type(error) is Transient
    assert error.kind == "oversized"


@pytest.mark.parametrize(
    ("error", "branch", "kind"),
    [
        (aiohttp.ServerTimeoutError(), Transient, "timeout"),
        (aiohttp.ConnectionTimeoutError(), Transient, "timeout"),
        (TimeoutError(), Transient, "timeout"),
        (aiohttp.ClientPayloadError(), Transient, "torn_body"),
        (aiohttp.ServerDisconnectedError(), Transient, "reset"),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), Transient, "reset"),
        (aiohttp.ClientConnectorError(None, OSError(-2, "Name or service not known")), Fatal, None),  # type: ignore[arg-type]
        (aiohttp.ClientConnectorCertificateError(None, ssl.CertificateError("self-signed")), Fatal, None),  # type: ignore[arg-type]
        (aiohttp.ClientConnectorDNSError(None, OSError(None, "DNS")), Fatal, None),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_foreign_errors(
    error: Exception, branch: type[GristmillError], kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of aiohttp's exceptions becomes one of ours."""

    def post(*_: Any, **__: Any) -> Any:
        raise error

    async with endpoint("http://127.0.0.1:9/v1") as opened:
        monkeypatch.setattr(opened._session, "post", post)
        with pytest.raises(branch) as caught:
            await opened(CHAT)
    assert getattr(caught.value, "kind", None) == kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b'"\\ud83d"',
        b"[" * 100_000,
        [],
        {},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": ""}}]},
        {"choices": [{"message": {"content": " \n"}}]},
        {"choices": [{"message": {"content": [7]}}]},
        {"choices": [{"message": {"content": [{"type": "thinking", "thinking": "Hm."}]}}]},
        {"choices": [{"message": {"content": "Half an ans"}, "finish_reason": "error"}]},
    ],
    ids=repr,
)
async def test_odd_bodies(body: Any) -> None:
    """A 200 whose body is no chat completion with text is Transient, and never an answer."""
    error = await refused(200, body)
    assert type(error) is Transient
    assert error.kind in ("torn_body", "wrong_shape", "empty_answer", "bad_finish")


@pytest.mark.parametrize("told", [None, "free", [], {"prompt_tokens": "many"}, {"completion_tokens": -3}])
async def test_usage_that_is_not_told(told: Any) -> None:
    """An answer without usage, or with one that is none, costs one request and no tokens, and is an answer."""
    async with answering(200, {"choices": [{"message": {"content": "fine"}}], "usage": told}) as server:
        assert (await ask(server.url)).usage == Usage(requests=1)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": []}],
        [{"index": 0}],
        [None],
    ],
)
async def test_odd_embeddings(data: list[Any]) -> None:
    """Not one vector for each text: Transient, and nothing is mixed up."""
    async with answering(200, {"data": data}) as server:
        with pytest.raises(Transient) as caught:
            await ask(server.url, embedding(["one"]))
    assert caught.value.kind == "bad_vector"


async def test_embeddings_without_numbers_are_in_order() -> None:
    """A server that numbers no vectors sends them in the order of the texts."""
    async with answering(200, {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}) as server:
        assert vectors(await ask(server.url, embedding(["one", "two"]))) == [[1.0], [2.0]]


async def test_embeddings_out_of_order() -> None:
    """Vectors are put into the order of their texts."""
    body = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]}
    async with answering(200, body) as server:
        assert vectors(await ask(server.url, embedding(["one", "two"]))) == [[1.0], [2.0]]


@pytest.mark.parametrize(("reason", "kind"), [("length", "truncated"), ("content_filter", "content_filter")])
async def test_answers_that_are_not_kept(reason: str, kind: str) -> None:
    """A cut or withheld answer is Permanent, and what it cost is told with it."""
    body = chat_body("Half an ans", finish_reason=reason, prompt_tokens=30, completion_tokens=64)
    error = await refused(200, body, input_usd_per_million=1.0)
    assert type(error) is Permanent
    assert error.kind == kind
    assert error.usage == Usage(requests=1, prompt_tokens=30, completion_tokens=64, cost_usd=30 / 1e6)


@pytest.mark.parametrize(
    "message", [{"content": None}, {"content": " "}, {"content": 7}, None], ids=["null", "blank", "number", "none"]
)
async def test_an_answer_in_vain_tells_its_cost(message: Any) -> None:
    """A good answer without text, or of another shape, is tried again, and what it cost is told with the error."""
    body = {"choices": [{"message": message}], "usage": {"prompt_tokens": 30, "completion_tokens": 4}}
    error = await refused(200, body, input_usd_per_million=1.0)
    assert type(error) is Transient
    assert error.usage == Usage(requests=1, prompt_tokens=30, completion_tokens=4, cost_usd=30 / 1e6)
    assert (await refused(500, body)).usage == (await refused(429, body)).usage == Usage()


async def test_one_token_may_be_cut() -> None:
    """A request for one token, as the agreement judge makes it, expects finish_reason "length"."""
    body = chat_body("Yes", finish_reason="length")
    alternatives = [{"token": "Yes", "logprob": -0.1}, {"token": "No", "logprob": -3.0}]
    body["choices"][0]["logprobs"] = {"content": [{"token": "Yes", "top_logprobs": alternatives}]}
    async with answering(200, body) as server:
        reply = await ask(server.url, agreement_request(question="q", reference="r", response="a"))
    agreement = read_agreement(reply)
    assert agreement is not None
    assert agreement.probability > 0.9
    assert (server.bodies[0]["max_tokens"], server.bodies[0]["logprobs"]) == (1, True)


# Streams


def chunk(text: str = "", *, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}], **more}


def stream(*events: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}
WORDS = [chunk(), chunk("Two "), chunk("words."), chunk(finish_reason="stop")]


async def streamed(body: bytes, headers: Mapping[str, str] = EVENTS) -> tuple[Canned, Reply]:
    async with answering(200, body, headers) as server, endpoint(server.url, stream=True) as opened:
        return server, await opened(CHAT)


async def test_a_stream_is_put_together() -> None:
    """A streamed answer gives the reply of a plain one, with its usage; comments between events are skipped."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    body = b": waiting\n\n" + stream(*WORDS, {"choices": [], "usage": usage})
    server, reply = await streamed(body)
    assert text(reply) == "Two words."
    assert reply.usage == Usage(requests=1, prompt_tokens=7, completion_tokens=2)
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


def test_the_first_token_is_timed() -> None:
    """The time to the first token ends at the first words, not at the head of the response nor at its end."""

    async def timed() -> tuple[float | None, float]:
        knobs = {"latency_mean_s": 2.0, "output_tokens_per_second": 10.0, "output_tokens_sigma": 0.0}
        async with simulated_endpoint(**knobs) as server, endpoint(server.base_url, stream=True) as opened:
            reply = await opened(CHAT)
            return reply.first_token_s, asyncio.get_running_loop().time()

    first_s, whole_s = run_virtual(timed())
    assert first_s == pytest.approx(2.0)
    assert whole_s > 5


async def test_a_server_that_hangs_up_after_a_stream() -> None:
    """A connection that the server ended after a stream without saying so, as llama.cpp does, spoils no request."""
    async with answering(200, stream(*WORDS), EVENTS) as server, endpoint(server.url, stream=True) as opened:
        replies = [await opened(CHAT) for _ in range(5)]
    assert [text(reply) for reply in replies] == ["Two words."] * 5
    assert len(server.bodies) == 5


async def test_a_server_that_does_not_stream() -> None:
    """A plain answer to a request for a stream is an answer; its first token is not known."""
    _, reply = await streamed(json.dumps(chat_body("Whole.")).encode(), {"Content-Type": "application/json"})
    assert (text(reply), reply.first_token_s) == ("Whole.", None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (stream(*WORDS[:2], end=b""), "torn_body"),
        (stream(*WORDS[:2], end=b'data: {"choi'), "torn_body"),
        (stream(end=b'data: {"choi\n\n'), "torn_body"),
        (stream(chunk("Two "), {"error": {"message": "out of memory"}}), "server_error"),
        (stream([1], 2), "wrong_shape"),
        (stream({"choices": 1}), "wrong_shape"),
        (stream(chunk(finish_reason="stop")), "empty_answer"),
        (stream(chunk("Two "), chunk(finish_reason="length")), "truncated"),
    ],
)
async def test_streams_that_are_no_answer(body: bytes, kind: str) -> None:
    """A stream that breaks off, tells of an error or is none is an error of ours, as a plain answer would be."""
    with pytest.raises((Transient, Permanent)) as caught:
        await streamed(body)
    assert caught.value.kind == kind


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_may_be_cut_off_where_that_is_allowed(stream: bool) -> None:
    """Who measures takes an answer that ends at its greatest length, with what it cost."""
    async with simulated_endpoint() as server, endpoint(server.base_url, stream=stream, cut_off=True) as opened:
        reply = await opened(chat("bench", [{"role": "user", "content": "Say it all. " * 40}], max_tokens=5))
    assert reply.usage.completion_tokens == 5


# What headers tell


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "-4"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "999999999"}, 3600.0),
        ({}, None),
    ],
)
async def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is read in seconds, in milliseconds where that header stands; what is no time is none."""
    error = await refused(429, b"", headers)
    assert error.retry_after_s == seconds


async def test_retry_after_a_date() -> None:
    """Retry-After may be a date; it is told as seconds from now."""
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (await refused(503, b"", {"Retry-After": date})).retry_after_s <= 90


@pytest.mark.parametrize("off_by", [timedelta(days=-400), timedelta(0), timedelta(days=400)])
async def test_a_clock_that_is_wrong(off_by: timedelta) -> None:
    """A date in Retry-After is read by the server's own clock, whatever ours says; without it no wait is above an hour."""
    there = datetime.now(UTC) + off_by
    now, later = (email.utils.format_datetime(there + timedelta(seconds=seconds), usegmt=True) for seconds in (0, 90))
    assert (await refused(503, b"", {"Retry-After": later, "Date": now})).retry_after_s == 90
    assert (await refused(503, b"", {"Retry-After": later})).retry_after_s <= 3600


LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "3000",
    "x-ratelimit-remaining-requests": "2999",
    "x-ratelimit-reset-requests": "20ms",
    "x-ratelimit-limit-tokens": "1500000",
    "x-ratelimit-remaining-tokens": "odd",
    "x-ratelimit-reset-tokens": "6m0s",
}


async def test_limits_of_the_server() -> None:
    """The x-ratelimit headers come with replies and with refusals; what is no number is unknown."""
    limits = ServerLimits(
        limit_requests=3000,
        remaining_requests=2999,
        reset_requests_s=0.02,
        limit_tokens=1_500_000,
        remaining_tokens=None,
        reset_tokens_s=360.0,
    )
    async with answering(200, chat_body("Good."), LIMIT_HEADERS) as server:
        assert (await ask(server.url)).server_limits == limits
    assert (await refused(429, b"", LIMIT_HEADERS)).server_limits == limits


async def test_limits_of_the_simulation() -> None:
    """What the simulated endpoint says of its limits is read whole."""
    async with simulated_endpoint(requests_per_minute=600, tokens_per_minute=60_000) as server:
        limits = (await ask(server.base_url)).server_limits
    assert limits is not None
    assert (limits.limit_requests, limits.limit_tokens) == (600, 60_000)
    assert None not in (limits.remaining_requests, limits.remaining_tokens)
    assert None not in (limits.reset_requests_s, limits.reset_tokens_s)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1h2m3.5s", 3723.5), ("2d", 172800.0), ("120ms", 0.12), ("59.7", 59.7), ("soon", None), ("", None), (None, None)],
)
def test_durations(value: str | None, seconds: float | None) -> None:
    """Durations are read as OpenAI writes them, and as plain seconds."""
    assert duration_s(value) == (None if seconds is None else pytest.approx(seconds))


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), milliseconds=st.integers(0, 59_999))
def test_durations_of_every_size(hours: int, minutes: int, milliseconds: int) -> None:
    """Hours, minutes and seconds with a fraction add up."""
    seconds = milliseconds / 1000
    assert duration_s(f"{hours}h{minutes}m{seconds}s") == pytest.approx(hours * 3600 + minutes * 60 + seconds)


# Secrets


@pytest.mark.parametrize(
    "url", ["", "api.openai.com/v1", "ftp://host/v1", "http://", "http://host:port/v1", "file:///v1"]
)
def test_addresses_that_are_none(url: str) -> None:
    """An address that is no http URL is refused before anything is sent, without being repeated."""
    with pytest.raises(BadInput, match=r"\[models\.generator\] base_url must begin with http"):
        endpoint(url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_no_secret_is_shown(status: int) -> None:
    """A key that the server echoes, or credentials in the address, reach neither a message nor a repr."""
    body = {"error": {"message": f"Incorrect {KEY}, or was it sk-another-0123456789? {'x' * 150} Bearer {KEY}"}}
    async with answering(status, body) as server:
        url = server.url.replace("http://", "http://me:hunter2@") + "?token=hidden"
        async with endpoint(url, key=KEY) as opened:
            with pytest.raises(GristmillError) as caught:
                await opened(CHAT)
    told = f"{opened!r} {caught.value!r} {caught.value}"
    assert not [secret for secret in ("hunter2", "hidden", "sk-another", KEY[:8]) if secret in told]


@pytest.mark.parametrize("fault", ["reset", "short", "torn", "null", "status", "refused"])
async def test_no_secret_is_in_what_caused_an_error(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Foreign exceptions that ours were made of show no key either: in their reprs, in a traceback, in any log."""
    caplog.set_level("DEBUG")
    async with simulated_endpoint(fault=lambda _: Fault(kind=fault, status=500)) as server:
        url = "http://127.0.0.1:9/v1" if fault == "refused" else server.base_url
        async with endpoint(url.replace("http://", "http://me:hunter2@"), key=KEY) as opened:
            with pytest.raises(GristmillError) as caught:
                await opened(CHAT)
    error: BaseException | None = caught.value
    told = caplog.text + "".join(traceback.format_exception(error))
    while error is not None:
        told += f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    assert not [secret for secret in ("hunter2", KEY) if secret in told]


async def test_credentials_in_the_address_and_a_key() -> None:
    """An address with credentials works beside a key; the key is what is sent."""
    async with answering(200, chat_body("Good.")) as server:
        await ask(server.url.replace("http://", "http://me:hunter2@"), key=KEY)
    assert f"Authorization: Bearer {KEY}" in server.heads[0]


def test_parts_that_were_answered_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later part of a divided request fails, its error says what the earlier ones have cost."""
    asked: list[int] = []

    async def answer_once(_: Endpoint, request: Request) -> tuple[int, dict[str, str], bytes, None]:
        asked.append(len(request.texts))
        if len(asked) == 3:
            raise Transient("broken", kind="reset", usage=Usage(requests=1))
        vectors = [{"index": index, "embedding": [1.0]} for index in range(len(request.texts))]
        return 200, {}, json.dumps({"data": vectors, "usage": {"prompt_tokens": 10}}).encode(), None

    async def body() -> Usage:
        async with endpoint("http://127.0.0.1:1/v1", role="embedding") as opened:
            opened._tried, opened.codec.dialect.most_texts = True, 2
            with pytest.raises(Transient) as raised:
                await opened(Request(to="embedding", texts=["a"] * 7, characters=7))
        return raised.value.usage

    monkeypatch.setattr(Endpoint, "_send", answer_once)
    assert asyncio.run(body()) == Usage(requests=3, prompt_tokens=20)
    assert asked == [2, 2, 2]


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_what_was_answered_is_kept(status: int) -> None:
    """An answer of no use is kept with the error as it came, to a bound, without the key that it quotes."""
    body = {"error": {"message": "no"}, "choices": [], "echo": f"Authorization: {KEY}", "more": "x" * 100_000}
    error = await refused(status, body, key=KEY)
    assert error.reply.startswith('{"error"')
    assert KEY not in error.reply
    assert "Authorization: ***" in error.reply
    assert len(error.reply) < 10_000
