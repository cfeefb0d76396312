from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from engine.errors import Fatal
from engine.signals import Stop, Stopped, stop_on_signals, uninterrupted
from engine.virtualtime import run_virtual


async def test_stays_requested() -> None:
    """Once requested a stop stays so, and tells everyone once; who comes later is told at once."""
    stop, told = Stop(), []
    stop.when_requested(lambda: told.append("early"))
    stop.check()
    assert not stop.requested
    stop.request()
    stop.request()
    assert stop.requested
    assert told == ["early"]
    stop.when_requested(lambda: told.append("late"))
    assert told == ["early", "late"]
    with pytest.raises(Stopped):
        stop.check()


async def test_first_error_is_kept() -> None:
    """The first error that asked for the stop is the one that is reported, also after a signal."""
    stop, first = Stop(), Fatal("first")
    stop.request()
    assert stop.error is None
    stop.request(first)
    stop.request(Fatal("second"))
    stop.request()
    assert stop.error is first


def test_sleep_lasts() -> None:
    """A sleep takes its time when nothing happens."""

    async def body() -> float:
        await Stop().sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(body()) == pytest.approx(3600)


def test_sleep_ends_at_a_stop() -> None:
    """A sleeper is let go by `Stopped` in the instant of the request, and does not begin to sleep after it."""

    async def body() -> list[float]:
        stop, ended, loop = Stop(), [], asyncio.get_running_loop()

        async def sleeper() -> None:
            with pytest.raises(Stopped):
                await stop.sleep(3600)
            ended.append(loop.time())

        loop.call_later(10, stop.request)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(sleeper())
        await sleeper()
        return ended

    assert run_virtual(body()) == pytest.approx([10, 10, 10, 10])


def test_sleep_can_be_cancelled() -> None:
    """A cancelled sleep raises `CancelledError`, and an outer timeout stays an outer timeout."""

    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await Stop().sleep(3600)

    run_virtual(body())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_first_signal_asks_second_cancels(number: signal.Signals) -> None:
    """The first signal only asks; the second cancels what is inside; afterwards the old handlers are back."""
    before = signal.getsignal(number)
    stop, said, asked = Stop(), [], asyncio.Event()
    stop.when_requested(asked.set)

    async def run() -> None:
        with stop_on_signals(stop, on_first=lambda: said.append("stopping")):
            os.kill(os.getpid(), number)
            await asked.wait()
            assert said == ["stopping"]
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run())
    assert task.cancelled()
    assert said == ["stopping"]
    assert stop.error is None
    assert signal.getsignal(number) == before


async def test_handlers_go_with_the_block() -> None:
    """An error inside leaves no handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(ValueError), stop_on_signals(Stop()):
        assert signal.getsignal(signal.SIGTERM) != before
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) == before


# uninterrupted


async def test_uninterrupted_gives_and_raises() -> None:
    """Without a cancellation it is as if the work were awaited."""

    async def work(error: Exception | None) -> int:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return 3

    assert await uninterrupted(work(None)) == 3
    with pytest.raises(Fatal, match="as it is"):
        await uninterrupted(work(Fatal("as it is")))


@pytest.mark.parametrize("error", [None, Fatal("while it is cancelled")])
def test_uninterrupted_ends_its_work(error: Fatal | None) -> None:
    """Who is cancelled comes out, cancelled, when its work has ended, whether that went well or not."""

    async def body() -> float:
        ended = []

        async def work() -> None:
            await asyncio.sleep(30)
            ended.append(True)
            if error is not None:
                raise error

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await uninterrupted(work())
        assert ended == [True]
        return asyncio.get_running_loop().time()

    assert run_virtual(body()) == pytest.approx(30)
