"""Workers as processes on this machine. Frames travel over their stdin and stdout.

A frame is its length in 4 bytes and a MessagePack array: the number of the exchange, the name of a method ("" in an
answer), and bytes. The first exchange is "build", which makes the worker; its answer says that the worker is ready.

A worker ends with the head: its pipes end then, and Linux kills it. Signals are left to the head.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from typing import IO, Self

import msgspec

from engine.children import start_child
from engine.cluster.place import Lost, Place
from engine.cluster.wire import Wired, accepted, answer, opened, refusal
from engine.processes import how_it_ended

__all__ = ["Processes", "WorkerProcess", "serve"]

_LENGTH = struct.Struct(">I")


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    number: int
    method: str
    body: bytes


class Processes:
    """`Places` of this machine. `child` ("module:function") is what each process calls; it calls `serve`.

    `setup` is what it builds its worker of. The environment is ours, and what `environment` adds.
    """

    def __init__(self, child: str, setup: Callable[[str], bytes], environment: Mapping[str, str] | None = None) -> None:
        self._child = child
        self._setup = setup
        self._environment = environment or {}
        self._processes: dict[str, WorkerProcess] = {}

    async def check(self) -> None:
        """Nothing needs to be there."""

    async def start(self, name: str) -> Place:
        process = await WorkerProcess.start(self._child, {**os.environ, **self._environment})
        self._processes[name] = process
        opened(await process.exchange("build", self._setup(name)))
        return Wired(process.exchange)

    async def end(self, name: str) -> str:
        process = self._processes.pop(name, None)
        return await process.end() if process else "did not start"

    async def close(self) -> None:
        """Nothing is left once all have ended."""


class WorkerProcess:
    """The parent's end of one worker process."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._inbox = process.stdin
        self._log = log
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._ended = False
        self._reading = asyncio.create_task(self._read(process.stdout))

    @classmethod
    async def start(cls, child: str, environment: Mapping[str, str]) -> Self:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        return cls(await start_child(child, stderr=log, environment=environment), log)

    async def exchange(self, method: str, argument: bytes) -> bytes:
        """Send `argument` to the method of that name; what `engine.cluster.wire.answer` made of it. Raises `Lost`."""
        if self._ended:
            raise Lost
        number = next(self._numbers)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            self._inbox.write(_framed(_Frame(number, method, argument)))
            return await answered
        finally:
            self._waiting.pop(number, None)

    async def end(self) -> str:
        """Kill the process; returns how it ended, in words."""
        with suppress(ProcessLookupError):
            if not self._ended:
                self._process.kill()
        self._inbox.close()
        await self._reading
        how = how_it_ended(await self._process.wait())
        words = _last_words(self._log)
        self._log.close()
        return f"{how}: {words}" if words else how

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for frame in _frames(stream):
            answered = self._waiting.get(frame.number)
            if answered is not None and not answered.done():
                answered.set_result(frame.body)
        self._ended = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(Lost())


def _last_words(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
    lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]


async def _frames(stream: asyncio.StreamReader) -> AsyncIterator[_Frame]:
    """The frames until the stream ends."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
            yield msgspec.msgpack.decode(await stream.readexactly(length), type=_Frame)


def _framed(frame: _Frame) -> bytes:
    data = msgspec.msgpack.encode(frame)
    return _LENGTH.pack(len(data)) + data


# What follows runs in the worker's process.

Build = Callable[[bytes], AbstractAsyncContextManager[Place]]
"""From what the head sends first to the worker, which is open inside."""


def serve(build: Build) -> None:
    """Be a worker until the head ends this process, or is gone."""
    inbox, outbox = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)  # what libraries read and print is no frame
    os.dup2(2, 1)
    asyncio.run(_serve(build, inbox, outbox))


async def _serve(build: Build, inbox: int, outbox: int) -> None:
    frames, send = await _pipes(inbox, outbox)
    first = await anext(frames, None)
    if first is None:
        return
    try:
        async with build(first.body) as place:
            send(_Frame(first.number, "", accepted()))
            running = set[asyncio.Task[None]]()
            async for frame in frames:
                task = asyncio.create_task(_reply(place, frame, send))
                running.add(task)
                task.add_done_callback(running.discard)
            os._exit(0)  # at once: who would wait for what is under way is gone
    except Exception as error:  # noqa: BLE001 - the head says what it means
        send(_Frame(first.number, "", refusal(error)))
        async for _ in frames:
            pass


async def _reply(place: Place, frame: _Frame, send: Callable[[_Frame], None]) -> None:
    send(_Frame(frame.number, "", await answer(place, frame.method, frame.body)))


async def _pipes(inbox: int, outbox: int) -> tuple[AsyncIterator[_Frame], Callable[[_Frame], None]]:
    """The frames that arrive, and the function that sends one."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(inbox, "rb"))
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(outbox, "wb", buffering=0))
    return _frames(reader), lambda frame: transport.write(_framed(frame))
