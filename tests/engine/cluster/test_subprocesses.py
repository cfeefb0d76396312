"""Workers as processes: frames there and back, errors, deaths; and they end with whoever started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.cluster.messages import Decision, Orders, Report, ReportedEvent, Task, Worked
from engine.cluster.place import Lost, Place
from engine.cluster.subprocesses import Processes, serve
from engine.errors import BadInput, Fatal
from engine.shards import Seal
from engine.signals import Stopped

pytestmark = pytest.mark.processes

# What the children call stands at the top of this module.


class Echo:
    """A place that says what it was asked."""

    def __init__(self, setup: bytes) -> None:
        self._setup = setup

    async def work(self, task: Task) -> Worked:
        if task.job == "die":
            os._exit(7)
        if task.job == "wait":
            await asyncio.sleep(3600)
        errors = {"fatal": Fatal("all is lost"), "stop": Stopped("stopping"), "bug": ValueError("a bug")}
        if task.job in errors:
            raise errors[task.job]
        print("what libraries print is no frame")
        return Worked(claims=task.job.encode() * task.index)

    async def decide(self, decision: Decision) -> Seal:
        raise NotImplementedError

    async def beat(self, orders: Orders) -> Report:
        return Report(events=[ReportedEvent(name="Note", event={"job": "echo", "text": self._setup.decode()})])


def echo() -> None:
    serve(built)


@asynccontextmanager
async def built(setup: bytes) -> AsyncIterator[Place]:
    if setup == b"bad":
        raise BadInput("this cannot be built")
    if setup == b"gone":
        print("the last words", file=sys.stderr)
        os._exit(9)
    yield Echo(setup)


def places(setup: bytes = b"told") -> Processes:
    return Processes(f"{__name__}:echo", lambda name: setup)


def task(job: str, index: int = 1) -> Task:
    return Task(job=job, index=index, fence="f", source="s")


async def test_calls_go_there_and_back() -> None:
    """Many at a time, large ones too; what the worker prints disturbs nothing."""
    started = places()
    place = await started.start("1")
    try:
        large = await asyncio.gather(*(place.work(task("é", index)) for index in (1, 2, 1_000_000)))
        assert [len(worked.claims or b"") for worked in large] == [2, 4, 2_000_000]
        assert (await place.beat(Orders())).events[0].event["text"] == "told"
    finally:
        await started.end("1")


async def test_errors_come_back_as_what_they_are() -> None:
    """What ends a run, a stop, and a bug with its traceback; the worker lives on."""
    started = places()
    place = await started.start("1")
    try:
        with pytest.raises(Fatal, match="all is lost"):
            await place.work(task("fatal"))
        with pytest.raises(Stopped):
            await place.work(task("stop"))
        with pytest.raises(RuntimeError, match="ValueError: a bug"):
            await place.work(task("bug"))
        assert (await place.work(task("x"))).claims == b"x"
    finally:
        await started.end("1")


async def test_a_worker_that_cannot_be_built() -> None:
    """Its error is raised where it is started; one that dies meanwhile is lost, and its last words are known."""
    with pytest.raises(BadInput, match="this cannot be built"):
        await (bad := places(b"bad")).start("1")
    await bad.end("1")
    with pytest.raises(Lost):
        await (gone := places(b"gone")).start("1")
    assert "the last words" in await gone.end("1")


async def test_a_death_is_known_at_once() -> None:
    """All who wait for a worker that dies hear of it, and later ones too."""
    started = places()
    place = await started.start("1")
    waiting = asyncio.create_task(place.work(task("wait")))
    await place.beat(Orders())
    with pytest.raises(Lost):
        await place.work(task("die"))
    with pytest.raises(Lost):
        await waiting
    with pytest.raises(Lost):
        await place.beat(Orders())
    assert await started.end("1") == "exited with status 7"


async def test_the_end_of_one_that_works() -> None:
    """It is killed, and whoever waits hears of it."""
    started = places()
    place = await started.start("1")
    waiting = asyncio.create_task(place.work(task("wait")))
    await place.beat(Orders())
    assert "SIGKILL" in await started.end("1")
    with pytest.raises(Lost):
        await waiting


async def start_and_say() -> None:
    started = places()
    place = await started.start("1")
    await place.beat(Orders())
    print(started._processes["1"]._process.pid, flush=True)
    await asyncio.sleep(3600)


def test_a_worker_ends_with_its_head() -> None:
    """The head is killed: its worker is gone soon after."""
    code = f"import asyncio, {__name__} as here; asyncio.run(here.start_and_say())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as head:
        assert head.stdout is not None
        worker = int(head.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        head.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)
