"""Batches at the simulated endpoint: their life, their files, their faults, and what is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from engine.errors import BadInput
from engine.virtualtime import run_virtual
from jobs.simulator import Fault, Running, Seen, Simulation, simulated_endpoint

CHAT = "/v1/chat/completions"


class Client:
    """The routes, one method each."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = base_url

    async def ask(self, method: str, path: str, **sent: Any) -> tuple[int, Any]:
        async with self._session.request(method, f"{self._url}/{path}", **sent) as response:
            data = await response.read()
        return response.status, json.loads(data) if data.startswith((b"{", b"[")) and b"\n" not in data else data

    async def upload(self, lines: Sequence[Mapping[str, Any]] | bytes, purpose: str = "batch") -> str:
        form = aiohttp.FormData()
        data = lines if isinstance(lines, bytes) else b"\n".join(json.dumps(line).encode() for line in lines)
        form.add_field("purpose", purpose)
        form.add_field("file", data, filename="requests.jsonl")
        status, file = await self.ask("POST", "files", data=form)
        assert status == 200, file
        return str(file["id"])

    async def create(self, file: str, **more: Any) -> tuple[int, Any]:
        wanted = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **more}
        return await self.ask("POST", "batches", json=wanted)

    async def made(self, lines: Sequence[Mapping[str, Any]], **more: Any) -> Any:
        status, batch = await self.create(await self.upload(lines), **more)
        assert status == 200, batch
        return batch

    async def batch(self, name: str) -> Any:
        return (await self.ask("GET", f"batches/{name}"))[1]

    async def lines(self, file: str | None) -> list[Any]:
        assert file
        status, data = await self.ask("GET", f"files/{file}/content")
        assert status == 200
        return [data] if isinstance(data, dict) else [json.loads(line) for line in data.splitlines()]


def at_endpoint(work: Callable[[Client, Running], Awaitable[None]], *, fault: Any = None, **knobs: Any) -> None:
    async def live() -> None:
        async with (
            simulated_endpoint(fault=fault, **knobs) as server,
            aiohttp.ClientSession() as session,
        ):
            await work(Client(session, server.base_url), server)

    run_virtual(live())


def chats(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "custom_id": f"row{i}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": "simulated-chat", "messages": [{"role": "user", "content": f"Tell me of {i}."}], **more},
        }
        for i in range(count)
    ]


def test_a_life() -> None:
    """A batch goes through its statuses; its answers are those that come online, in another order, in the output file."""

    async def work(client: Client, server: Running) -> None:
        rows = chats(12)
        batch = await client.made(rows, metadata={"run": "one"})
        found = [batch["status"]]
        for _ in range(4):
            await asyncio.sleep(10)
            found.append((batch := await client.batch(batch["id"]))["status"])
        assert found == ["validating", "in_progress", "in_progress", "finalizing", "completed"]
        assert batch["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
        assert (batch["metadata"], batch["error_file_id"]) == ({"run": "one"}, None)
        lines = await client.lines(batch["output_file_id"])
        assert [line["custom_id"] for line in lines] != [row["custom_id"] for row in rows]
        for row in rows:
            _, online = await client.ask("POST", "chat/completions", json=row["body"])
            assert next(line for line in lines if line["custom_id"] == row["custom_id"])["response"]["body"] == online
        assert server.counters.answered == 24
        assert server.counters.answered_twice == 12
        assert server.counters.rows_answered_twice == 0

    at_endpoint(work, batch_validate_s=5, batch_run_s=20, batch_finalize_s=10, seed=3)


def test_embeddings() -> None:
    """A batch of embeddings has the vectors that come online."""

    async def work(client: Client, server: Running) -> None:
        body = {"model": "simulated-embedding", "input": ["one text", "another"]}
        row = {"custom_id": "v", "method": "POST", "url": "/v1/embeddings", "body": body}
        batch = await client.made([row], endpoint="/v1/embeddings")
        await asyncio.sleep(1)
        [line] = await client.lines((await client.batch(batch["id"]))["output_file_id"])
        assert line["response"]["body"] == (await client.ask("POST", "embeddings", json=body))[1]

    at_endpoint(work)


def test_expired_and_failed_rows() -> None:
    """Rows that expire or fail stand in the error file, each with its reason; the next batch has better luck."""

    async def work(client: Client, server: Running) -> None:
        batch = await client.made(chats(200))
        await asyncio.sleep(1)
        batch = await client.batch(batch["id"])
        assert batch["status"] == "expired"
        answers, failures = (
            await client.lines(batch["output_file_id"]),
            await client.lines(batch["error_file_id"]),
        )
        assert {line["custom_id"] for line in answers + failures} == {f"row{i}" for i in range(200)}
        expired = [line for line in failures if line["error"] is not None]
        assert {line["error"]["code"] for line in expired} == {"batch_expired"}
        assert 40 < len(expired) < 80
        assert {line["response"]["status_code"] for line in failures if line["error"] is None} == {500}
        assert len(answers) == server.counters.answered == batch["request_counts"]["completed"]
        again = await client.made(chats(200))
        await asyncio.sleep(1)
        assert (await client.batch(again["id"]))["request_counts"] != batch["request_counts"]
        assert server.counters.rows_answered_twice > 0

    at_endpoint(work, batch_expire=0.3, batch_error=0.1)


def test_a_cancelled_batch_keeps_what_was_done() -> None:
    """What was done when a batch is cancelled stands in its output; an ended batch cannot be cancelled."""

    async def work(client: Client, server: Running) -> None:
        batch = await client.made(chats(10))
        await asyncio.sleep(5)
        status, batch = await client.ask("POST", f"batches/{batch['id']}/cancel")
        assert (status, batch["status"]) == (200, "cancelling")
        await asyncio.sleep(2)
        batch = await client.batch(batch["id"])
        assert batch["status"] == "cancelled"
        assert len(await client.lines(batch["output_file_id"])) == server.counters.answered == 5
        assert {line["error"]["code"] for line in await client.lines(batch["error_file_id"])} == {"batch_cancelled"}
        assert (await client.ask("POST", f"batches/{batch['id']}/cancel"))[0] == 400

    at_endpoint(work, batch_validate_s=0, batch_run_s=10, batch_cancel_s=1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda rows: [rows[0], rows[0]], "duplicate_custom_id"),
        (lambda rows: [rows[0], {**rows[1], "url": "/v1/embeddings"}], "invalid_url"),
        (lambda rows: [rows[0], {**rows[1], "body": {**rows[1]["body"], "model": "other"}}], "mismatched_model"),
        (lambda rows: [{"custom_id": "x"}], "invalid_json_line"),
        (lambda rows: [], "empty_file"),
        (lambda rows: [*rows, *chats(4)[2:]], "too_many_tasks"),
    ],
)
def test_what_validation_refuses(change: Callable[[list[Any]], list[Any]], code: str) -> None:
    """A file that is no batch fails it, with a reason, and nothing of it is answered."""

    async def work(client: Client, server: Running) -> None:
        batch = await client.made(change(chats(2)))
        await asyncio.sleep(1)
        batch = await client.batch(batch["id"])
        assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", code)
        assert (batch["output_file_id"], server.counters.answered, server.counters.batch_rows) == (None, 0, 0)

    at_endpoint(work, batch_max_rows=3)


def test_what_creation_refuses() -> None:
    """A creation that names no file, another purpose, another window or too much metadata is refused at once."""

    async def work(client: Client, server: Running) -> None:
        file = await client.upload(chats(1))
        assert (await client.create("file-none"))[0] == 400
        assert (await client.create(await client.upload(chats(1), "fine-tune")))[0] == 400
        for more in (
            {"completion_window": "1h"},
            {"completion_window": "7d"},
            {"endpoint": "/v1/images"},
            {"metadata": {str(i): "" for i in range(17)}},
            {"input_file_id": None},
        ):
            assert (await client.create(file, **more))[0] == 400
        assert (await client.ask("POST", "batches", data=b"{"))[0] == 400
        assert (await client.ask("GET", "batches/batch_none"))[0] == 404
        assert (await client.ask("PUT", "batches"))[0] == 404
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", b"x" * 2000, filename="large")
        assert (await client.ask("POST", "files", data=form))[0] == 413
        assert server.counters.batches == {}

    at_endpoint(work, batch_max_bytes=1000)


def test_the_queue() -> None:
    """A batch that finds no room in the queue is refused, or fails afterwards; an ended one makes room."""

    async def work(client: Client, server: Running) -> None:
        late = server.simulation.batch_queue_late
        await client.made(chats(5))
        status, second = await client.create(await client.upload(chats(5)))
        assert status == (200 if late else 429)
        if late:
            await asyncio.sleep(0.1)
            second = await client.batch(second["id"])
            assert (second["status"], second["errors"]["data"][0]["code"]) == ("failed", "token_limit_exceeded")
        else:
            assert second["error"]["code"] == "token_limit_exceeded"
        await asyncio.sleep(1)
        assert (await client.made(chats(5)))["status"] == "validating"

    for late in (False, True):
        at_endpoint(work, batch_queue_tokens=80, batch_queue_late=late)


def test_pages_and_a_list_that_lags() -> None:
    """The list comes in pages, the newest first, and has a batch some seconds after it was made."""

    async def work(client: Client, server: Running) -> None:
        made = [(await client.made(chats(1)))["id"] for _ in range(5)]
        assert (await client.ask("GET", "batches"))[1]["data"] == []
        await asyncio.sleep(4)
        seen: list[str] = []
        more, query = True, {"limit": "2"}
        while more:
            _, page = await client.ask("GET", "batches", params=query)
            seen += [batch["id"] for batch in page["data"]]
            more, query = page["has_more"], {"limit": "2", "after": seen[-1]}
        assert seen == made[::-1]

    at_endpoint(work, batch_list_s=4)


def test_a_lost_answer() -> None:
    """The connection breaks at a creation, and the batch is there."""

    async def work(client: Client, server: Running) -> None:
        file = await client.upload(chats(1))
        with pytest.raises(aiohttp.ClientError):
            await client.create(file)
        [batch] = (await client.ask("GET", "batches"))[1]["data"]
        assert batch["input_file_id"] == file

    at_endpoint(work, batch_lost_answers=1)


def test_what_gets_lost() -> None:
    """A batch vanishes before it ran; an input file is gone at the creation, an output file at the end, any after a time."""

    async def vanished(client: Client, server: Running) -> None:
        batch = await client.made(chats(2))
        await asyncio.sleep(1)
        assert (await client.ask("GET", f"batches/{batch['id']}"))[0] == 404
        assert (await client.ask("GET", "batches"))[1]["data"] == []
        assert (server.counters.answered, server.counters.batches["vanished"]) == (0, 1)

    async def lost_input(client: Client, server: Running) -> None:
        status, refused = await client.create(file := await client.upload(chats(2)))
        assert (status, refused["error"]["code"]) == (400, "invalid_input_file_id")
        assert (await client.ask("GET", f"files/{file}"))[0] == 404

    async def lost_output(client: Client, server: Running) -> None:
        batch = await client.made(chats(2))
        await asyncio.sleep(1)
        batch = await client.batch(batch["id"])
        assert (await client.ask("GET", f"files/{batch['output_file_id']}/content"))[0] == 404
        assert server.counters.batch_rows_lost == 2

    async def old_file(client: Client, server: Running) -> None:
        file = await client.upload(chats(1))
        await asyncio.sleep(59)
        assert (await client.ask("GET", f"files/{file}"))[0] == 200
        await asyncio.sleep(1)
        assert (await client.ask("GET", f"files/{file}"))[0] == 404
        assert (await client.create(file))[0] == 400

    at_endpoint(vanished, batch_vanish=1)
    at_endpoint(lost_input, batch_lost_inputs=1)
    at_endpoint(lost_output, batch_lost_outputs=1)
    at_endpoint(old_file, batch_file_s=60)


def test_quirks_hold_for_rows() -> None:
    """What a server refuses or writes otherwise online it refuses and writes so in a batch."""

    async def work(client: Client, server: Running) -> None:
        rows = [*chats(1), *({**row, "custom_id": "long"} for row in chats(1, max_tokens=5))]
        batch = await client.made(rows)
        await asyncio.sleep(1)
        batch = await client.batch(batch["id"])
        [refused] = await client.lines(batch["error_file_id"])
        assert (refused["custom_id"], refused["response"]["status_code"]) == ("long", 400)
        [line] = await client.lines(batch["output_file_id"])
        assert "<think>" in line["response"]["body"]["choices"][0]["message"]["content"]

    at_endpoint(work, quirk=("max-completion-tokens", "think"))


def test_a_scripted_fault() -> None:
    """A scripted fault meets a route of batches by its path."""

    async def work(client: Client, server: Running) -> None:
        assert (await client.ask("GET", "batches"))[0] == 503
        assert (await client.ask("GET", "batches"))[0] == 200

    def fault(seen: Seen) -> Fault | None:
        return Fault(kind="status", status=503) if (seen.route, seen.attempt) == ("batches", 0) else None

    at_endpoint(work, fault=fault)


def test_shares_are_shares() -> None:
    """A share above 1 is refused."""
    with pytest.raises(BadInput, match="batch_expire is a share"):
        Simulation(batch_expire=1.5)
