"""An event loop whose clock jumps: a test of an hour of waiting takes milliseconds and is deterministic.

The clock stands still while anything can run. When nothing can, it jumps to the next timer. While work runs in an
executor's thread, the loop waits for it in real time instead, so that a virtual timeout cannot overtake a disk. When
nothing can run, no timer is set and nothing could wake the loop, it would sleep for ever: that is an error.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

__all__ = ["VirtualTimeLoop", "run_virtual"]

T = TypeVar("T")


def run_virtual(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end in virtual time, which starts at 0; returns its result or raises its exception."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop in virtual time: `time()` is in seconds from the loop's making."""

    def __init__(self) -> None:
        self._jumping_selector = _JumpingSelector()
        super().__init__(self._jumping_selector)

    def time(self) -> float:
        return self._jumping_selector.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._jumping_selector.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _future: object) -> None:
        self._jumping_selector.threads -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        # It joins the threads from a thread of its own, with a timeout that must not be jumped to.
        self._jumping_selector.threads += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._jumping_selector.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Holds the clock, because only the selector knows that nothing is ready and how far the next timer is."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self._refuse_eternal_sleep()
            return super().select(None)
        events = super().select(timeout if self.threads else 0)
        if not events and timeout > 0:
            self.now += timeout
        return events

    def _refuse_eternal_sleep(self) -> None:
        only_the_loops_own_pipe = len(self.get_map()) <= 1
        if only_the_loops_own_pipe and not self.threads and threading.active_count() == 1:
            raise RuntimeError("every task waits, and no timer, thread or socket can wake one")
