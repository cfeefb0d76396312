"""Stopping: start no more records, let those in flight end and commit, then return.

The first SIGINT or SIGTERM requests this, and so does a fatal error; the second signal cancels everything at once.
A task that waits and has sent nothing (for a limit, between two attempts, for a shard) ends with `Stopped`, and its
record stays undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from engine.errors import GristmillError

__all__ = ["Stop", "Stopped", "stop_on_signals", "uninterrupted"]

T = TypeVar("T")


class Stopped(GristmillError):
    """Not an error: the run was asked to stop before this was done."""


class Stop:
    """The stop of one run. Once requested, it stays requested; the first error that requested it is kept."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self.error: GristmillError | None = None

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self, error: GristmillError | None = None) -> None:
        if self.error is None:
            self.error = error
        if not self.requested:
            self._event.set()
            for callback in self._callbacks:
                callback()

    def when_requested(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the stop is requested, or now if it has been."""
        self._callbacks.append(callback)
        if self.requested:
            callback()

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self.requested:
            raise Stopped("the run is stopping")

    def on_error(self) -> AbstractContextManager[None]:
        """A `GristmillError` inside the block requests the stop and ends the block; `Stopped` only ends the block."""
        return _OnError(self)

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise `Stopped` as soon as a stop is requested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self.check()


class _OnError(AbstractContextManager[None]):
    """A class, since every record passes through it: a generator would take twice as long."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, GristmillError):
            return False
        if not isinstance(error, Stopped):  # the code that requested the stop reports it
            self._stop.request(error)
        return True


@contextlib.contextmanager
def stop_on_signals(stop: Stop, *, on_first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside the block, the first SIGINT or SIGTERM requests `stop`, and the second cancels the task that entered.

    Afterwards the earlier handlers are restored, asyncio's own included.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("stop_on_signals needs a running task")

    asked = False

    def handle() -> None:
        nonlocal asked
        if asked:
            task.cancel()
        else:
            asked = True
            on_first()
            stop.request()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; if cancelled meanwhile, wait for its end before raising the cancellation.

    For work that writes files in threads, which cannot be cancelled: no write may go on after this returns.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the cancellation says more
        raise
