"""Batches through OpenAI's client: rows, files, states, and what each server does otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from way_servers import Certificates, certificates, model_server, proxy_server

from engine.batches.service import BatchService, BatchState, FileVanished, QueueFull
from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.requests import Reply, Request
from engine.virtualtime import run_virtual
from jobs.config import Model
from jobs.models.openai.batch_states import read_state
from jobs.models.openai.batches import Batches, batches_at
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target
from jobs.simulator import Fault, Running, Seen, simulated_endpoint
from jobs.simulator.quirks import QUIRKS

BATCH = {"id": "b", "object": "batch", "status": "in_progress", "input_file_id": "f"}


def target(url: str, role: str = "generator", **settings: Any) -> Target:
    priced = {"input_usd_per_million": 1.0, "output_usd_per_million": 4.0, "batch": True}
    model = Model.model_validate({"model": "simulated-chat", "base_url": url, **priced, **settings})
    return Target(role=role, model=model, name=model.model, base_url=url, api_key="the-key")


def chat(number: int) -> Request:
    text = f"Say what stands in paper {number}."
    return Request(
        to="generator",
        messages=[{"role": "user", "content": text}],
        characters=len(text),
        max_output_tokens=1000,
    )


def embedding(number: int) -> Request:
    return Request(to="generator", texts=[f"passage {number}", "another"], characters=20)


@asynccontextmanager
async def served(role: str = "generator", **knobs: Any) -> AsyncIterator[tuple[Batches, Running]]:
    async with simulated_endpoint(**knobs) as server, batches_at(target(server.base_url, role)) as batches:
        yield batches, server


async def made(batches: BatchService, folder: Path) -> BatchState:
    """A batch of one row."""
    return await batches.create(await uploaded(batches, folder), "24h")


async def uploaded(batches: BatchService, folder: Path) -> str:
    (folder / "rows").write_bytes(batches.row("a", chat(0)))
    return await batches.upload(folder / "rows")


class Trip:
    """The way of some requests through one batch after the other, until each has its reply or is refused for good."""

    def __init__(self, batches: BatchService, requests: Sequence[Request], folder: Path) -> None:
        self.batches: BatchService = batches
        self.left = {f"row{number}": request for number, request in enumerate(requests)}
        self.found: dict[str, Reply | GristmillError] = {}
        self.folder = folder
        self.words: list[str] = []
        self.rounds = 0

    async def whole(self) -> None:
        while self.left:
            self.rounds += 1
            assert self.rounds < 30, self.words
            await self.round()

    async def round(self) -> None:
        path = self.folder / "rows.jsonl"
        path.write_bytes(b"".join(self.batches.row(name, each) for name, each in self.left.items()))
        try:
            state = await self.ended(await self.batches.create(await self.batches.upload(path), "24h"))
        except Transient as error:
            self.words.append(error.kind)
            await asyncio.sleep(1)
            return
        self.words.append("vanished" if state is None else state.status)
        for file in filter(None, (state.output_file, state.error_file) if state else ()):
            assert await self.batches.download(file, path)
            self.read(path.read_bytes().splitlines())

    async def ended(self, state: BatchState) -> BatchState | None:
        now: BatchState | None = state
        while now is not None and not now.ended:
            await asyncio.sleep(0.1)
            now = await self.batches.get(state.id)
        return now

    def read(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            name = self.batches.custom_id(line)
            found = self.batches.outcome(line, self.left[name])
            assert self.batches.usage(line) == found.usage
            if not isinstance(found, Transient):
                self.found[name] = found
                del self.left[name]


@pytest.mark.parametrize(("make", "role"), [(chat, "generator"), (embedding, "embedding")])
def test_the_same_replies_as_online(make: Callable[[int], Request], role: str, tmp_path: Path) -> None:
    """Each reply is the one that comes online, at half its price."""

    async def live() -> None:
        async with served(role, seed=4, models=("*",)) as (batches, server):
            trip = Trip(batches, [make(number) for number in range(9)], tmp_path)
            await trip.whole()
            async with Endpoint(target(server.base_url, role)) as endpoint:
                for number in range(9):
                    online, reply = await endpoint(make(number)), trip.found[f"row{number}"]
                    assert isinstance(reply, Reply)
                    assert (reply.text, reply.vectors) == (online.text, online.vectors)
                    assert reply.usage.prompt_tokens == online.usage.prompt_tokens
                    assert reply.usage.cost_usd == pytest.approx(online.usage.cost_usd / 2)
            assert trip.words == ["completed"]

    run_virtual(live())


@pytest.mark.parametrize("name", [name for name, quirk in QUIRKS.items() if quirk.batches is not None])
def test_each_quirk(name: str, tmp_path: Path) -> None:
    """Every row has its reply after all, whatever a server does otherwise; only what fails at first is asked again."""

    async def live() -> None:
        async with served(quirk=(name,), seed=2) as (batches, server):
            trip = Trip(batches, [chat(number) for number in range(40)], tmp_path)
            await trip.whole()
            assert all(isinstance(reply, Reply) for reply in trip.found.values())
            assert server.counters.rows_answered_twice == 0
            assert trip.rounds <= 4

    run_virtual(live())


@pytest.mark.parametrize(
    ("quirk", "kind"), [("moderation-400", "content_filter"), ("too-long", "context_too_long"), ("think", "")]
)
def test_refused_rows(quirk: str, kind: str, tmp_path: Path) -> None:
    """A row is read as the same answer online: refused for good with the same kind, or a reply without its thought."""

    async def live() -> None:
        async with served(quirk=(quirk,)) as (batches, _):
            trip = Trip(batches, [chat(1)], tmp_path)
            await trip.whole()
            [found] = trip.found.values()
            if kind:
                assert isinstance(found, Permanent)
                assert (found.kind, found.usage.cost_usd) == (kind, 0)
            else:
                assert isinstance(found, Reply)
                assert "think" not in found.text

    run_virtual(live())


def test_a_refused_row_teaches(tmp_path: Path) -> None:
    """A row that is refused for a parameter is asked otherwise in the next batch, and online too."""

    async def live() -> None:
        async with simulated_endpoint(quirk=("max-completion-tokens",)) as server:
            one = target(server.base_url)
            async with Endpoint(one) as online, Endpoint.batches(one) as batches:
                trip = Trip(batches, [chat(number) for number in range(3)], tmp_path)
                await trip.whole()
                assert trip.rounds == 2
                await online(chat(9))
                assert server.counters.refused == 0

    run_virtual(live())


def test_rows_that_never_ran(tmp_path: Path) -> None:
    """An expired row says so, costs nothing and may go again; the answered ones are there."""

    async def live() -> None:
        async with served(batch_expire=0.5) as (batches, server):
            trip = Trip(batches, [chat(number) for number in range(20)], tmp_path)
            await trip.round()
            assert trip.words == ["expired"]
            assert 0 < len(trip.left) < 20
            assert len(trip.found) == server.counters.answered
            line = b'{"custom_id":"x","response":null,"error":{"code":"batch_expired","message":"Too late."}}'
            found = batches.outcome(line, chat(0))
            assert isinstance(found, Transient)
            assert (found.kind, str(found), found.usage.requests) == ("batch_expired", "Too late.", 0)
            assert isinstance(batches.outcome(b"{half", chat(0)), Transient)
            assert batches.custom_id(b"{half") == ""

    run_virtual(live())


def test_a_creation_is_sent_once(tmp_path: Path) -> None:
    """Where the answer to a creation is lost, it is not repeated: the batch is found in the list, by its file."""

    async def live() -> None:
        async with served(batch_lost_answers=1) as (batches, server):
            file = await uploaded(batches, tmp_path)
            with pytest.raises(Transient) as raised:
                await batches.create(file, "24h")
            assert raised.value.kind == "reset"
            assert server.counters.batches["created"] == 1
            [found] = [state async for state in batches.list()]
            assert found.input_file == file

    run_virtual(live())


def test_pages_of_the_list(tmp_path: Path) -> None:
    """The list is read to its last page."""

    async def live() -> None:
        async with served() as (batches, _):
            file = await uploaded(batches, tmp_path)
            made = [(await batches.create(file, "24h")).id for _ in range(230)]
            assert [state.id async for state in batches.list()] == made[::-1]

    run_virtual(live())


def test_what_is_not_there(tmp_path: Path) -> None:
    """A batch, an input file and an output file that are gone are told from a server in trouble."""

    async def live() -> None:
        async with served() as (batches, _):
            assert await batches.get("batch_none") is None
            assert not await batches.download("file-none", tmp_path / "x")
            await batches.cancel("batch_none")
            with pytest.raises(FileVanished):
                await batches.create("file-none", "24h")

    run_virtual(live())


@pytest.mark.parametrize("late", [False, True])
def test_a_full_queue(late: bool, tmp_path: Path) -> None:
    """A full queue is told apart, at the creation and afterwards."""

    async def live() -> None:
        async with served(batch_queue_tokens=5, batch_queue_late=late) as (batches, _):
            file = await uploaded(batches, tmp_path)
            if not late:
                with pytest.raises(QueueFull, match="Enqueued token limit reached"):
                    await batches.create(file, "24h")
                return
            created = await batches.create(file, "24h")
            await asyncio.sleep(1)
            state = await batches.get(created.id)
            assert state is not None
            assert (state.status, state.queue_full, state.total) == ("failed", True, 0)
            assert state.reason.startswith("token_limit_exceeded: Enqueued token limit")

    run_virtual(live())


def test_a_batch_that_is_refused_for_good(tmp_path: Path) -> None:
    """A window that the server does not take, and a wrong key, end the run with one line that says what to do."""

    async def live() -> None:
        async with served() as (batches, _):
            file = await uploaded(batches, tmp_path)
            with pytest.raises(Fatal, match=r"refuses a batch \(400: Invalid value: '7d'.* check batch"):
                await batches.create(file, "7d")
        async with served(api_key="another") as (batches, _):
            with pytest.raises(Fatal, match="refuses the key") as raised:
                await batches.get("b")
            assert "the-key" not in str(raised.value)

    run_virtual(live())


def test_a_server_that_takes_no_metadata(tmp_path: Path) -> None:
    """Where metadata is refused, the batch is made without it: the refusal has made none."""

    def fault(seen: Seen) -> Fault | None:
        refused = Fault(kind="status", status=400, message="Unknown parameter: 'metadata'.")
        return refused if (seen.key, seen.attempt) == ("batches", 0) else None

    async def live() -> None:
        async with simulated_endpoint(fault=fault) as server, batches_at(target(server.base_url)) as batches:
            first, second = await made(batches, tmp_path), await made(batches, tmp_path)
            assert first.id != second.id
            assert server.counters.batches["created"] == 2

    run_virtual(live())


def test_a_server_without_batches(tmp_path: Path) -> None:
    """A server that knows no files ends the run with one line."""

    def fault(seen: Seen) -> Fault | None:
        return Fault(kind="status", status=404, message="Not Found")

    async def live() -> None:
        async with simulated_endpoint(fault=fault) as server, batches_at(target(server.base_url)) as batches:
            with pytest.raises(Fatal, match=r"has no batches at this address \(404: Not Found\)"):
                await uploaded(batches, tmp_path)
            with pytest.raises(Fatal, match="has no batches at this address"):
                await batches.create("f", "24h")

    run_virtual(live())


def test_a_server_in_trouble() -> None:
    """Trouble is `Transient`, with the time that the server asks to wait; nothing is tried again here."""

    def fault(seen: Seen) -> Fault | None:
        return Fault(kind="status", status=503, retry_after_s=7) if seen.route == "batches" else None

    async def live() -> None:
        async with (
            simulated_endpoint(fault=fault) as server,
            batches_at(target(server.base_url)) as batches,
        ):
            with pytest.raises(Transient) as raised:
                await batches.get("b")
            assert (raised.value.kind, raised.value.retry_after_s) == ("overloaded", 7)
            assert server.counters.requests["batches"] == 1
        with pytest.raises(Transient) as raised:
            async with batches_at(target("http://127.0.0.1:9/v1")) as nobody:
                await nobody.get("b")
        assert raised.value.kind == "unreachable"

    run_virtual(live())


def test_cancelling(tmp_path: Path) -> None:
    """A cancelled batch says so by its status."""

    async def live() -> None:
        async with served(batch_run_s=100) as (batches, _):
            created = await made(batches, tmp_path)
            await batches.cancel(created.id)
            state = await batches.get(created.id)
            assert state is not None
            assert state.status == "cancelled"
            await batches.cancel(created.id)

    run_virtual(live())


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("validating", "validating"),
        ("IN_PROGRESS", "running"),
        ("finalizing", "finalizing"),
        ("cancelling", "cancelling"),
        ("no word at all", "running"),
        ("completed", "completed"),
        ("COMPLETED", "completed"),
        ("BATCH_SUCCEEDED", "completed"),
        ("failed", "failed"),
        ("FAILED_VALIDATION", "failed"),
        ("expired", "expired"),
        ("timeout", "expired"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
    ],
)
def test_words_for_a_state(word: str, status: str) -> None:
    """Any server's word is known; one that nobody knows is that of a batch that goes on."""
    assert read_state({**BATCH, "status": word}).status == status


def test_what_else_a_state_says() -> None:
    """Empty and missing fields are none; a reason is one line without the key; another shape is an error."""
    state = read_state({**BATCH, "output_file_id": None, "error_file_id": "", "request_counts": {"total": "x"}})
    assert (state.output_file, state.error_file, state.total, state.reason) == ("", "", 0, "")
    errors = {"data": [{"code": "invalid_json_line", "message": "Line\nthree, the-key", "line": 3}]}
    assert (
        read_state({**BATCH, "errors": errors}, key="the-key").reason == "invalid_json_line: Line three, *** (line 3)"
    )
    for body in ([], {"status": "failed"}, {"id": "b", "status": 3}, None):
        with pytest.raises(TypeError):
            read_state(body)


def test_the_account() -> None:
    """Another address or another key is another account, and neither can be read from it."""

    async def live() -> None:
        found = set()
        for url, key in (("http://a.test/v1", "one"), ("http://a.test/v1", "two"), ("http://b.test/v1", "one")):
            model = Model(model="m", base_url=url)
            async with batches_at(Target(role="judge", model=model, name="m", base_url=url, api_key=key)) as batches:
                found.add(batches.account)
                assert key not in batches.account
        assert len(found) == 3

    run_virtual(live())


@pytest.fixture
def issued(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


async def test_the_way(monkeypatch: pytest.MonkeyPatch, issued: Certificates, tmp_path: Path) -> None:
    """Batches go through the proxy, by TLS, to a socket, with the headers and the query, as requests online do."""
    answer = msgspec.json.encode(BATCH)

    async def asked(url: str, **settings: Any) -> str:
        async with batches_at(target(url, **settings)) as batches:
            return (await batches.get("b")).id

    async with (
        model_server(answer=answer, tls=issued.server()) as secure,
        proxy_server() as proxy,
        model_server(answer=answer, path=tmp_path / "s") as at_socket,
        model_server(answer=answer) as plain,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert await asked(f"https://model.test:{secure.port}/v1", ca_file=str(issued.file)) == "b"
        assert await asked(f"unix://{tmp_path}/s") == "b"
        azure = f"http://127.0.0.1:{plain.port}/openai/deployments/mine"
        settings = {"key_header": "api-key", "key_scheme": "", "extra_query": {"api-version": "1"}}
        assert await asked(azure, **settings) == "b"
    assert proxy.heads[0].startswith(f"CONNECT model.test:{secure.port} ")
    assert at_socket.heads[0].startswith("GET /v1/batches/b ")
    assert plain.heads[0].startswith("GET /openai/batches/b?api-version=1 ")
    assert "api-key: the-key" in plain.heads[0]
    assert "uthorization" not in plain.heads[0]


def test_a_deployment() -> None:
    """Where an address names Azure's deployment, rows are of that model, and their route has no version."""

    async def live() -> None:
        async with batches_at(target("https://x.openai.azure.com/openai/deployments/mine")) as batches:
            row = msgspec.json.decode(batches.row("a", chat(0)))
            assert (row["url"], row["body"]["model"]) == ("/chat/completions", "mine")
            assert "max_completion_tokens" in row["body"]

    run_virtual(live())
