"""CPU work in processes that may crash or hang, one input at a time.

The standard pools do not fit: `concurrent.futures.ProcessPoolExecutor` is broken as a whole when one child dies,
`multiprocessing.Pool` then waits for ever, and neither can stop one input that takes too long.

What holds, and why:
- *Every `run` ends.* The parent waits for a child only under a timeout, and what has not answered in time is killed.
- *A bad input costs itself alone.* One child works on one input, and only a child that has answered in good health is
  used again: one that died, hung, ran out of memory or was cancelled in mid-work is killed and replaced.
- *A failure is the input's own.* A used child may suffer from what earlier inputs left behind. So an input that
  crashes one, or finds too little memory there, is tried once more in a fresh one, and what happens there counts.
- *No child outlives us.* Its pipe ends with us, and Linux kills it when its parent dies.

Parent and child exchange pickles, each preceded by its length in 8 bytes, over the child's stdin and stdout.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self, TypeVar

from engine.children import start_child
from engine.errors import Fatal, GristmillError, Permanent
from engine.processes import how_it_ended

__all__ = ["Workers"]

A = TypeVar("A")
R = TypeVar("R")

START_ATTEMPTS = 3
START_TIMEOUT_S = 120.0  # a cold import of large libraries from a slow disk
NICENESS = 5  # CPU work must not starve the event loop, which feeds paid endpoints
_LENGTH = struct.Struct(">Q")
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class Workers:
    """Up to `processes` child processes, each started when it is first needed. Raises `ValueError` for less than one.

    One input may take `timeout_s` seconds and its child `memory_bytes` of memory. `initializer` ("module:function") is
    called once in each child before its first input: import there what is slow to import.

        async with Workers(processes=4) as workers:
            pages = await workers.run(count_pages, "paper.pdf")
    """

    def __init__(
        self, *, processes: int, timeout_s: float = 120.0, memory_bytes: int = 4 * 2**30, initializer: str = ""
    ) -> None:
        if processes < 1:
            raise ValueError(f"processes is {processes}: set it to 1 or more")
        if timeout_s <= 0:
            raise ValueError(f"timeout_s is {timeout_s:g}: set it above 0")
        self.processes = processes
        self.timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._initializer = initializer
        self._free = asyncio.Semaphore(processes)  # wakes its waiters first come, first served
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._begun: list[asyncio.Task[_Child]] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        await self._end_begun()
        self._idle.clear()
        for child in self._children:
            child.kill()
        for _ in range(self.processes):  # calls that are still running end now: their children are dead
            await self._free.acquire()
        for child in self._children:
            await child.ended()

    def begin(self, children: int) -> None:
        """Start the first children now, so that they are ready when `run` needs them; a failure is raised there."""
        self._check_open()
        if not self._begun and not self._children:
            loop = asyncio.get_running_loop()
            self._begun = [loop.create_task(self._start()) for _ in range(min(children, self.processes))]

    def rest(self) -> None:
        """End the children that have nothing to do; `run` starts others where it needs them."""
        while self._idle:
            self._discard(self._idle.pop())

    async def run(self, function: Callable[[A], R], argument: A) -> R:
        """Call `function` on `argument` in a child and return what it returns.

        The function is found by its name, so it must stand at the top of a module; argument and result are pickled.
        Raises `Permanent` of kind "crashed", "timed_out" or "out_of_memory"; `Fatal` when no child can be started;
        and whatever `GristmillError` the function raises. Cancelling kills the child that works on this input.
        """
        request = pickle.dumps((function, argument))
        self._check_open()
        async with self._free:
            self._check_open()
            outcome = None
            if self._idle:
                outcome = await self._ask(self._idle.pop(), request)
            if outcome is None or outcome.suspect:
                outcome = await self._ask(await self._fresh(), request)
        if outcome.error is not None:
            raise outcome.error
        result: R = outcome.value
        return result

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("these workers are closed, or were never entered")

    async def _ask(self, child: _Child, request: bytes) -> _Outcome:
        healthy = False
        try:
            async with asyncio.timeout(self.timeout_s):
                outcome = await child.exchange(request)
            healthy = not outcome.suspect
        except TimeoutError:
            return _Outcome(error=Permanent(f"no result within {self.timeout_s:g} s", kind="timed_out"))
        else:
            return outcome
        finally:
            if healthy and self._open:
                self._idle.append(child)
            else:
                self._discard(child)

    async def _fresh(self) -> _Child:
        return await (self._begun.pop(0) if self._begun else self._start())

    async def _end_begun(self) -> None:
        for begun in self._begun:
            begun.cancel()
            await asyncio.wait([begun])
            if not begun.cancelled():
                begun.exception()  # nobody needed that child

    async def _start(self) -> _Child:
        """A fresh child that has said it is ready. One that dies while starting may be an accident; three are not."""
        outcome = _Outcome()
        setup = _Setup(memory_bytes=self._memory_bytes, initializer=self._initializer)
        for _ in range(START_ATTEMPTS):
            child = _Child(await _spawn())
            self._children.add(child)
            ready = False
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    outcome = await child.exchange(pickle.dumps(setup))
                ready = outcome.error is None
            except TimeoutError:
                slow = Permanent(f"not ready after {START_TIMEOUT_S:g} s", kind="timed_out")
                outcome = _Outcome(error=slow, suspect=True)
            finally:
                if not ready:
                    self._discard(child)
            if ready:
                return child
            if not outcome.suspect:
                break  # the initializer's own error: another child would meet it too
        raise Fatal(f"worker processes do not start ({outcome.error}); check the installation and the memory limit")

    def _discard(self, child: _Child) -> None:
        child.kill()
        # Those whose end was seen are forgotten; the others are waited for when the pool closes.
        self._children = {each for each in self._children if not each.has_ended}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    memory_bytes: int
    initializer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of one request. `suspect` says that the child, not only the input, may be the reason."""

    value: Any = None
    error: GristmillError | None = None
    suspect: bool = False


class _Child:
    """The parent's end of one child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._inbox = process.stdin
        self._outbox = process.stdout

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def exchange(self, request: bytes) -> _Outcome:
        """Send one request and read its reply; a child that dies instead gives a "crashed" outcome."""
        try:
            self._inbox.write(_LENGTH.pack(len(request)) + request)
            await self._inbox.drain()
            (length,) = _LENGTH.unpack(await self._outbox.readexactly(_LENGTH.size))
            reply = await self._outbox.readexactly(length)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
            how = how_it_ended(await self._process.wait())
            return _Outcome(error=Permanent(f"the worker process {how}", kind="crashed"), suspect=True)
        return _read_reply(reply)

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it may have ended by itself
            self._process.kill()
        self._inbox.close()

    async def ended(self) -> None:
        """Wait until the killed process is gone and its pipes are empty."""
        while await self._outbox.read(2**16):
            pass
        await self._process.wait()


async def _spawn() -> asyncio.subprocess.Process:
    environment = {
        name: value for name, value in os.environ.items() if not any(word in name.upper() for word in _SECRET_WORDS)
    }
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # one child, one core
    return await start_child("engine.workers:_serve", stderr=asyncio.subprocess.DEVNULL, environment=environment)


def _read_reply(reply: bytes) -> _Outcome:
    tag, *content = pickle.loads(reply)
    if tag == "value":
        return _Outcome(value=content[0])
    if tag == "error":
        kind, arguments, state = content
        # Not by calling the class: its constructor may want more than what `args` keeps.
        error = kind.__new__(kind, *arguments)
        error.__dict__.update(state)
        return _Outcome(error=error)
    return _Outcome(error=Permanent(content[0], kind=tag), suspect=tag == "out_of_memory")


# What follows runs in the child.


def _serve() -> NoReturn:
    inbox, outbox = _take_pipes()
    _send(outbox, _answer(_prepare, pickle.loads(_receive(inbox))))
    while True:
        _send(outbox, _answer(_call, _receive(inbox)))


def _call(request: bytes) -> Any:
    function, argument = pickle.loads(request)
    return function(argument)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep our two pipes for ourselves: what C libraries print, or read, goes nowhere."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return inbox, outbox


def _prepare(setup: _Setup) -> None:
    import resource

    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # What is really allocated. RLIMIT_AS would also count address space that libraries only reserve.
        resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_bytes, setup.memory_bytes))
    if setup.initializer:
        module, _, name = setup.initializer.partition(":")
        getattr(import_module(module), name)()


def _answer(function: Callable[[Any], Any], argument: Any) -> bytes:
    try:
        return pickle.dumps(("value", function(argument)))
    except MemoryError as error:
        return pickle.dumps(("out_of_memory", f"needs more memory than is allowed ({error})"))
    except GristmillError as error:
        return pickle.dumps(("error", type(error), error.args, error.__dict__))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the function is a stranger: it may raise anything
        return pickle.dumps(("crashed", f"{type(error).__name__}: {error}"[:500]))


def _receive(inbox: BinaryIO) -> bytes:
    header = inbox.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        os._exit(0)  # the parent closed the pipe, or is gone
    (length,) = _LENGTH.unpack(header)
    return inbox.read(length)


def _send(outbox: BinaryIO, reply: bytes) -> None:
    outbox.write(_LENGTH.pack(len(reply)) + reply)
    outbox.flush()
