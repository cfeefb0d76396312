"""The HTTP server of the simulated endpoint: HTTP/1.1 on asyncio's protocols, and the command that runs it.

It has no web framework and no task per request: `data_received` reads a request, and timers send its answer, so that
benchmarks do not measure the endpoint. Requests of one connection are answered one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qsl, unquote

import msgspec

from engine.errors import BadInput
from jobs.simulator.counters import Counters
from jobs.simulator.endpoint import Endpoint, FaultScript, Play, Received
from jobs.simulator.settings import Simulation, arguments, from_arguments

__all__ = ["Running", "main", "running", "serve"]


def main(argv: Sequence[str] = ()) -> int:
    """``gristmill simulate``: print one line with the base URL, serve until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gristmill simulate", description="Serve a simulated OpenAI endpoint.")
    arguments(parser)
    try:
        asyncio.run(serve(from_arguments(parser.parse_args(argv)), announce=partial(print, flush=True)))
    except BadInput as error:
        print(f"gristmill: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(simulation: Simulation, *, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the base URL once requests are accepted."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(simulation) as server:
            announce(server.base_url)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated endpoint that accepts requests. ``base_url`` ends in ``/v1``; the counters are also at
    ``/counters``."""

    base_url: str
    counters: Counters
    simulation: Simulation


@asynccontextmanager
async def running(simulation: Simulation, *, fault: FaultScript | None = None) -> AsyncIterator[Running]:
    """Serve in the running event loop, by its clock, until the context ends; open connections are dropped then.

    Raises `BadInput` when the port cannot be opened or the log cannot be written.
    """
    loop = asyncio.get_running_loop()
    endpoint = Endpoint(simulation, clock=loop.time, fault=fault)
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(endpoint, connections), simulation.host, simulation.port, backlog=4096
        )
    except OSError as error:
        endpoint.close()
        where = f"{simulation.host} port {simulation.port}"
        raise BadInput(f"cannot listen on {where} ({error.strerror}): choose another, or port 0") from error
    host, port = server.sockets[0].getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    try:
        yield Running(base_url=f"http://{host}:{port}/v1", counters=endpoint.counters, simulation=simulation)
    finally:
        server.close()
        for connection in connections:
            connection.abort()
        await server.wait_closed()
        await asyncio.sleep(0)  # the transports close in the loop's next turn
        endpoint.close()


MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 512 * 1024 * 1024


class _BadRequest(Exception):
    """The bytes are not a request; the connection is closed."""


class Connection(asyncio.Protocol):
    """One client's connection. `_play` is the answer that is being sent, None between requests."""

    def __init__(self, endpoint: Endpoint, connections: set[Connection]) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks = bytearray()
        self._play: Play | None = None
        self._piece = 0
        self._keep = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._finish(whole=False)

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        """Answer the complete requests that have arrived, one after the other."""
        while self._play is None and self._transport is not None and not self._transport.is_closing():
            try:
                request = self._take_request()
            except (_BadRequest, ValueError):
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self._transport.close()
                return
            if request is None:
                return
            self._play, self._piece = self._endpoint.receive(request), 0
            self._next()

    def _take_request(self) -> Received | None:
        head = self._head
        if head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, 0) > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
                raise _BadRequest
            if end < 0:
                return None
            head = self._head = _Head(self._buffer[:end].decode("latin-1"))
            del self._buffer[: end + 4]
            if head.expects and not self._buffer:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._take_chunks() if head.chunked else self._take_bytes(head.length)
        if body is None:
            return None
        self._head = None
        self._keep = head.keep
        return head.with_body(body)

    def _take_bytes(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _take_chunks(self) -> bytes | None:
        """A chunked body, once its last chunk has arrived; trailers are ignored."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:end].split(b";")[0], 16)
            if size < 0 or len(self._chunks) + size > MAX_BODY_BYTES:
                raise _BadRequest
            if size == 0:
                last = self._buffer.find(b"\r\n\r\n", end)
                if last < 0:
                    return None
                del self._buffer[: last + 4]
                body, self._chunks = bytes(self._chunks), bytearray()
                return body
            if len(self._buffer) < end + 2 + size + 2:
                return None
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
        return None

    def _next(self) -> None:
        """Send the pieces that are due, wait for the next one, and finish after the last."""
        play = self._play
        assert play is not None
        pieces = play.pieces
        while self._piece < len(pieces):
            wait_s, data = pieces[self._piece]
            if wait_s > 0 and self._timer is None:
                self._timer = self._loop.call_later(wait_s, self._due)
                return
            self._timer = None
            self._piece += 1
            self._write(data)
        if play.end != "hang":
            self._end(play)

    def _due(self) -> None:
        self._next()
        self._advance()

    def _end(self, play: Play) -> None:
        transport = self._transport
        if transport is None:
            return
        self._finish(whole=True)
        if play.end == "reset":
            if (sock := transport.get_extra_info("socket")) is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
            transport.abort()
        elif play.end == "close" or not self._keep:
            transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _finish(self, *, whole: bool) -> None:
        play, self._play = self._play, None
        if play is not None:
            self._endpoint.finish(play, whole=whole)


class _Head:
    """The head of a request; raises `_BadRequest` or ValueError if it is invalid."""

    def __init__(self, text: str) -> None:
        first, *lines = text.split("\r\n")
        self._method, self._target, version = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.length = int(self.headers.get("content-length", "0"))
        if not version.startswith("HTTP/1.") or not 0 <= self.length <= MAX_BODY_BYTES:
            raise _BadRequest
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.expects = "100-continue" in self.headers.get("expect", "").lower()
        wish = self.headers.get("connection", "").lower()
        self.keep = "close" not in wish if version == "HTTP/1.1" else "keep-alive" in wish

    def with_body(self, body: bytes) -> Received:
        path, _, query = self._target.partition("?")
        path = unquote(path) if "%" in path else path
        found = dict(parse_qsl(query)) if query else {}
        return Received(method=self._method, path=path, query=found, headers=self.headers, body=body)
