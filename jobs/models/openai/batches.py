"""Batches at a server that speaks OpenAI's Batch API: files and batches through OpenAI's own client.

Nothing that may have had an effect is sent again here: the caller keeps a journal, and knows what may be sent twice.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engine.batches.service import BatchState, FileVanished, QueueFull
from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.requests import Reply, Request, Usage
from jobs.models.connection import Connection, connection
from jobs.models.openai import batch_lines
from jobs.models.openai.batch_states import MARKER, listed, queue_is_full, read_state
from jobs.models.openai.codec import Codec, codec_of
from jobs.models.openai.official import official_client, untrusted_way
from jobs.models.openai.words import read_words
from jobs.models.providers import Target

if TYPE_CHECKING:
    import openai

__all__ = ["Batches", "batches_at"]

_TIMEOUT_S = 120.0
_FILE_READY_S = 60.0
"""How long `create` waits for a server that still looks into a file: short beside the time after which a list is trusted."""
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/?$")
_NO_GATEWAY = re.compile(r"api\.openai\.com|api\.groq\.com|.+\.azure\.com")
"""Hosts that do not ask for the owner of a file, and may refuse a field that they do not know."""
_PAGE, _MOST_PAGES = 100, 200

T = TypeVar("T")
_Page = tuple[list[BatchState], bool]


@asynccontextmanager
async def batches_at(target: Target) -> AsyncIterator[Batches]:
    """The batches of the model of `target`, at its address, by the key, headers, proxy and certificates of its requests."""
    way = connection(target.role, target.model, target.base_url)
    deployment = _DEPLOYMENT.search(way.url.path)
    base_url = str(way.url.with_path(_DEPLOYMENT.sub("", way.url.path))) if deployment else ""
    async with official_client(way, target.model, target.api_key, timeout_s=_TIMEOUT_S, base_url=base_url) as client:
        yield Batches(client, codec_of(target, way), target, way, deployment=deployment[1] if deployment else "")


class Batches:
    """The batches of one model, as `engine.batches.service.BatchService` has them.

    Raises `QueueFull` where too much waits, `FileVanished` where the file of a batch is gone, `Transient` for what may
    work later, and `Fatal` for a key or an address that cannot be used, or a batch that the server does not take.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, codec: Codec, target: Target, way: Connection, *, deployment: str = ""
    ) -> None:
        """`deployment` is Azure's name of the model, where the address holds one: files and batches are not below it."""
        self._client = client
        self._codec = codec
        self._target = target
        self._way = way
        self._deployment = deployment
        name = "embeddings" if target.role == "embedding" else "chat/completions"
        self._url = f"/{name}" if deployment else f"/v1/{name}"
        self._uploads = "/files"
        self._takes_metadata = True
        self.account = blake2b(f"{way.shown}\0{target.api_key}".encode(), digest_size=16).hexdigest()

    # Lines.

    def row(self, custom_id: str, request: Request) -> bytes:
        """The line of `request` in a file of requests."""
        body = self._codec.body(request)
        if self._deployment:
            body["model"] = self._deployment
        return batch_lines.row(custom_id, self._url, body)

    def custom_id(self, line: bytes) -> str:
        """Whose line of results it is; "" where it cannot be read."""
        return batch_lines.custom_id(line)

    def usage(self, line: bytes) -> Usage:
        """What the row of this line was billed for, at the batch price; no request where it was not answered."""
        return batch_lines.usage(line, self._target.model)

    def outcome(self, line: bytes, request: Request) -> Reply | GristmillError:
        """What the line answers to `request`."""
        return batch_lines.outcome(line, request, self._codec)

    # Files and batches.

    async def upload(self, file: Path) -> str:
        """Send a file of requests, read piece by piece; returns its id. An upload that was not heard costs nothing."""
        self._uploads, id_ = await self._mapped(lambda: self._upload(file, self._uploads), self._no_batches)
        return id_

    async def create(self, file_id: str, window: str) -> BatchState:
        """Make a batch of an uploaded file. The one request that makes it is never repeated: it may have been heard."""

        async def attempt() -> BatchState:
            creation: Any = {"input_file_id": file_id, "endpoint": self._url, "completion_window": window}
            if self._takes_metadata:
                creation["metadata"] = {MARKER: file_id}
            response = await self._client.batches.with_raw_response.create(**creation)
            return self._state(response.content)

        wait_s, until_s = 1.0, asyncio.get_running_loop().time() + _FILE_READY_S
        while True:
            try:
                return await self._mapped(attempt, self._file_vanished)
            except _Refused as error:  # a refusal has made no batch
                if not (self._takes_metadata and "metadata" in str(error)):
                    raise
                self._takes_metadata = False
                continue
            except _NotReady:
                if asyncio.get_running_loop().time() > until_s:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(30.0, 2 * wait_s)

    async def get(self, batch_id: str) -> BatchState | None:
        """What the server says of a batch; None where it does not know it."""

        async def attempt() -> BatchState:
            return self._state((await self._client.batches.with_raw_response.retrieve(batch_id)).content)

        try:
            return await self._mapped(attempt)
        except _Gone:
            return None

    async def list(self) -> AsyncIterator[BatchState]:
        """All batches of the account, the newest first; none where the server has no list."""
        after, seen = "", set[str]()
        for _ in range(_MOST_PAGES):
            try:
                found, more = await self._mapped(self._page(after))
            except _Gone:
                return
            new = [state for state in found if state.id not in seen]
            for state in new:
                yield state
            if not more or not new:  # a server that knows no pages sends the first one for ever
                return
            seen.update(state.id for state in new)
            after = new[-1].id

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to be ended; what was done stays, and is paid. No error where it has ended or is unknown."""
        try:
            await self._mapped(lambda: self._client.batches.with_raw_response.cancel(batch_id))
        except (_Gone, _Refused):
            return

    async def download(self, file_id: str, to: Path) -> bool:
        """Write a file of results to `to`, piece by piece, from its beginning; False where the server does not have it."""

        async def attempt() -> None:
            with await asyncio.to_thread(to.open, "wb") as file:
                async with self._client.files.with_streaming_response.content(file_id) as response:
                    async for piece in response.iter_bytes(1 << 20):
                        await asyncio.to_thread(file.write, piece)

        try:
            await self._mapped(attempt)
        except _Gone:
            return False
        return True

    async def _upload(self, path: Path, route: str) -> tuple[str, str]:
        import openai

        fields = {"purpose": "batch" if route == "/files" else "batch-api"}
        if not _NO_GATEWAY.fullmatch(self._way.host):
            fields |= {"target_model_names": self._target.name, "file_name": path.name}
        headers = {"Content-Type": "multipart/form-data"}
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                files = {"file": (path.name, file)}
                sent: Any = await self._client.post(
                    route, body=fields, files=files, options={"headers": headers}, cast_to=object
                )
        except openai.NotFoundError:
            if route != "/files":
                raise
            return await self._upload(path, "/files/upload")  # Together's
        if not isinstance(sent, dict) or not isinstance(sent.get("id"), str):
            raise TypeError("a file has an id")
        return route, sent["id"]

    def _page(self, after: str) -> Callable[[], Awaitable[_Page]]:
        async def attempt() -> _Page:
            query = {"limit": _PAGE, **({"after": after} if after else {})}
            response = await self._client.batches.with_raw_response.list(extra_query=query)
            found, more = listed(msgspec.json.decode(response.content))
            return [read_state(each, key=self._target.api_key) for each in found], more

        return attempt

    def _state(self, data: bytes) -> BatchState:
        return read_state(msgspec.json.decode(data), key=self._target.api_key)

    async def _mapped(self, attempt: Callable[[], Awaitable[T]], gone: _Absent | None = None) -> T:
        """`attempt`, with the errors of the client as ours; `gone` makes the one for what is not there."""
        import openai

        try:
            return await attempt()
        except openai.APIStatusError as error:
            response = error.response
            raise self._refused(response.status_code, response.headers, response.content, gone or _gone) from None
        except openai.APIError as error:
            # Without the cause: the client's error carries the request, with its headers.
            raise untrusted_way(error, self._way) or _broken(error) from None
        except (msgspec.DecodeError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
            raise Transient("the answer has not the shape of OpenAI's batches", kind="wrong_shape") from error

    def _refused(self, status: int, headers: Any, data: bytes, gone: _Absent) -> GristmillError:
        words = read_words(data, key=self._target.api_key)
        message = f"{status}: {words.message or 'no reason given'}"
        if queue_is_full(words):
            return QueueFull(message, kind="queue_full")
        if status in (404, 405, 410) or words.has("no such file", "invalid_input_file_id", "file not found"):
            return gone(message)
        if status in (400, 409, 425) and words.has("not ready", "being processed", "still processing", "pending"):
            return _NotReady(message, kind="not_ready")
        found = self._codec.refused(status, headers, data)
        if isinstance(found, Permanent):
            return _Refused(
                f"{self._way.shown} refuses a batch ({message}); check batch, batch_window and model in "
                f"[models.{self._target.role}]"
            )
        return found

    def _file_vanished(self, message: str) -> GristmillError:
        if "file" in message.casefold():
            return FileVanished(message, kind="file_vanished")
        return self._no_batches(message)

    def _no_batches(self, message: str) -> GristmillError:
        return _Refused(
            f"{self._way.shown} has no batches at this address ({message}); check base_url in "
            f"[models.{self._target.role}], or leave batch out there"
        )


_Absent = Callable[[str], GristmillError]


class _Gone(Transient):
    """What was asked for is not there."""


def _gone(message: str) -> GristmillError:
    return _Gone(message, kind="gone")


class _NotReady(Transient):
    """The server is still looking into the file."""


class _Refused(Fatal):
    """The server does not take what was asked of it."""


def _broken(error: openai.APIError) -> Transient:
    """A connection that could not be made, broke, or brought something else: nobody knows what was heard."""
    import httpx2
    import openai

    if isinstance(error, openai.APITimeoutError):
        return Transient("no answer in time", kind="timeout")
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, httpx2.ConnectError):
        return Transient("no connection", kind="unreachable")
    return Transient(f"the connection broke ({type(error.__cause__ or error).__name__})", kind="reset")
