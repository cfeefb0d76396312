"""Small servers for the way to a model: with TLS or without, at a socket or one loopback address, and a proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from openai_bodies import chat_body

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = json.dumps(chat_body("Good.")).encode()


@dataclass(kw_only=True)
class Server:
    """What a server of these has seen: the head of each request, in lines."""

    port: int = 0
    heads: list[str] = field(default_factory=list)


@asynccontextmanager
async def model_server(
    *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", path: Path | None = None, answer: bytes = ANSWER
) -> AsyncIterator[Server]:
    """A model that gives each request the same answer and ends the connection; at the Unix socket `path`, if given."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        server.heads.append(head)
        lengths = [line[15:] for line in head.splitlines() if line.lower().startswith("content-length:")]
        await reader.readexactly(int(lengths[0]) if lengths else 0)
        writer.write(_response(200, answer))

    handlers = _Handlers(serve)
    listening = (
        await asyncio.start_unix_server(handlers, path)
        if path
        else await asyncio.start_server(handlers, host, 0, ssl=tls)
    )
    async with handlers.closing(listening):
        server.port = 0 if path else listening.sockets[0].getsockname()[1]
        yield server


@asynccontextmanager
async def saying(data: bytes, *, reset: bool = False) -> AsyncIterator[int]:
    """The port of a server that answers the first byte with `data`, whatever was asked, or with a reset."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(data)
        if reset:
            writer.transport.abort()

    handlers = _Handlers(serve)
    listening = await asyncio.start_server(handlers, "127.0.0.1", 0)
    async with handlers.closing(listening):
        yield listening.sockets[0].getsockname()[1]


@asynccontextmanager
async def proxy_server(
    *, credentials: str = "", status: int = 200, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """An HTTP proxy that forwards plain requests and opens tunnels, asks for `credentials`, or says `status` to all."""
    server = Server()
    wanted = f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        server.heads.append(head)
        if wanted not in head:
            writer.write(_response(407, b""))
        elif status != 200:
            writer.write(_response(status, b""))
        else:
            await _forward(head, reader, writer)

    handlers = _Handlers(serve)
    listening = await asyncio.start_server(handlers, "127.0.0.1", 0, ssl=tls)
    async with handlers.closing(listening):
        server.port = listening.sockets[0].getsockname()[1]
        yield server


async def _forward(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, target, _ = head.split(" ", 2)
    tunnel = method == "CONNECT"
    authority = target if tunnel else target.split("/")[2]
    host, _, port = authority.rpartition(":")
    theirs, ours = await asyncio.open_connection("127.0.0.1" if host.endswith(".test") else host, int(port))
    if tunnel:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        ours.write(head.replace(f"http://{authority}", "", 1).encode("latin-1"))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, ours))
            tasks.create_task(_copy(theirs, writer))
    finally:
        ours.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


def _response(status: int, body: bytes) -> bytes:
    return _HEAD % (status, len(body)) + body


_HEAD = b"HTTP/1.1 %d Status\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


class _Handlers:
    """Runs the handler of each connection; `closing` ends those that are still there."""

    def __init__(self, serve: Handler) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._serve(reader, writer)
                await writer.drain()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    @asynccontextmanager
    async def closing(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(3):  # what was aborted is closed in the next turns of the loop
                await asyncio.sleep(0)


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """A CA of the test's own, its PEM file, and what it signs."""

    ca: trustme.CA
    file: Path
    folder: Path

    def server(self, *names: str, days: float = 30, asks: trustme.CA | None = None) -> ssl.SSLContext:
        """A server's context whose certificate ends in so many `days`; with `asks` it wants one of that CA's clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(*names, days=days).configure_cert(context)
        if asks is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            asks.configure_trust(context)
        return context

    def issue(self, *names: str, days: float = 30) -> trustme.LeafCert:
        ends = datetime.now(UTC) + timedelta(days=days)
        return self.ca.issue_cert(
            *(names or ("localhost", "127.0.0.1", "model.test")),
            not_before=ends - timedelta(days=60),
            not_after=ends,
        )

    def client(self, *, days: float = 30) -> tuple[Path, Path]:
        """The files of a client's certificate and of its key."""
        issued = self.issue("user@model.test", days=days)
        chain, key = self.folder / f"client{days}.pem", self.folder / f"client{days}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return chain, key


def certificates(folder: Path) -> Certificates:
    ca, file = trustme.CA(), folder / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return Certificates(ca=ca, file=file, folder=folder)
