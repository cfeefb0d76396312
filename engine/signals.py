"""Stopping: cease taking more, let what is in flight end and commit, then go.

The first SIGINT or SIGTERM asks for that; the second cancels everything at once. A fatal error asks for it too.
Whoever waits without having sent anything (for a limit, between two attempts, for a shard) is let go by `Stopped`:
its record simply stays undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from engine.errors import GristmillError

__all__ = ["Stop", "Stopped", "stop_on_signals", "uninterrupted"]

T = TypeVar("T")


class Stopped(GristmillError):
    """Not a fault: the run was asked to stop before this was done."""


class Stop:
    """One for each run. Once requested, it stays requested; the first error that asked for it is kept."""

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
        """Call `callback` at the request, or now when it was made already."""
        self._callbacks.append(callback)
        if self.requested:
            callback()

    def check(self) -> None:
        """Raise `Stopped` once a stop was requested."""
        if self.requested:
            raise Stopped("the run is stopping")

    @contextlib.contextmanager
    def on_error(self) -> Iterator[None]:
        """Inside, an error of the engine's requests the stop and ends the block; `Stopped` only ends the block."""
        try:
            yield
        except Stopped:
            pass  # whoever asked for the stop reports it
        except GristmillError as error:
            self.request(error)

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise `Stopped` as soon as a stop is requested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self.check()


@contextlib.contextmanager
def stop_on_signals(stop: Stop, *, on_first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While inside: the first SIGINT or SIGTERM requests `stop`, the second cancels the task that entered.

    Afterwards the handlers from before are back, asyncio's own among them.
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
    """Await `work`; when cancelled meanwhile, wait for its end before letting the cancellation on.

    For what writes files in threads, which cannot be cancelled: whoever comes after must find them at rest.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the cancellation says more
        raise
