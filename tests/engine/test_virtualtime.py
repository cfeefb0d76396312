"""The loop whose clock jumps."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from engine.virtualtime import run_virtual


def test_a_day_of_sleep_takes_no_time() -> None:
    """The clock jumps to the next timer when nothing can run, and sleepers wake in the order of their times."""
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            for name, seconds in (("day", 86_400.0), ("hour", 3_600.0), ("second", 1.0)):
                group.create_task(sleeper(name, seconds))

    began = time.monotonic()
    run_virtual(scenario())
    assert woken == [("second", 1.0), ("hour", 3600.0), ("day", 86400.0)]
    assert time.monotonic() - began < 5


def test_the_clock_stands_while_tasks_run() -> None:
    """A task that only yields sees no time pass, though a timer is set."""

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(1, lambda: None)
        for _ in range(100):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(scenario()) == 0.0


def test_a_thread_is_waited_for() -> None:
    """A virtual timeout does not overtake work in an executor's thread."""
    go_on = threading.Event()

    async def scenario() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        threading.Timer(0.05, go_on.set).start()
        async with asyncio.timeout(30):
            await asyncio.to_thread(go_on.wait)
        at_return = loop.time()
        await asyncio.sleep(100)
        return "done", loop.time() - at_return

    assert run_virtual(scenario()) == ("done", 100.0)


def test_eternal_sleep_is_an_error() -> None:
    """When no timer is set and nothing can wake the loop, it says so instead of hanging."""

    async def scenario() -> None:
        await asyncio.get_running_loop().create_future()

    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            pytest.skip("another thread runs, which might wake the loop")
    with pytest.raises(RuntimeError, match="every task waits"):
        run_virtual(scenario())
