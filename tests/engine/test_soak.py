"""Kills by the hundred. As a script this module is the process that is killed: a small pipeline, 64 inputs in flight."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from fake_disk import Books, Disk, Row, answer, contents, datasets, deal, grow, kill_at, live, names, prompt_of
from ledger import Journal, Ledger

from engine.errors import Permanent
from engine.events import Event
from engine.job import Job
from engine.requests import Call, Reply, Request
from engine.runner import run
from engine.signals import Stop

KILLS = 210
SLOTS = 64
SIZES = [40, 3, 64, 0, 90, 25, 120, 1, 77, 60] * 2


def pipeline(books: Books) -> list[Job]:
    return [
        grow("ask", reads="source", writes="questions", books=books, slots=SLOTS),
        grow("answer", reads="questions", writes="pairs", books=books, slots=SLOTS, review=drop_some),
        grow("judge", reads="pairs", writes="verdicts", books=books, slots=SLOTS),
    ]


async def drop_some(rows: Sequence[Row]) -> dict[str, Permanent]:
    return {row.parent: Permanent("dull", kind="dull") for row in rows if len(row.text) == 40}


async def mill(folder: Path, books: Books, call: Call, hook: Callable[[Event], None] | None = None) -> None:
    jobs = pipeline(books)
    await run(jobs, datasets(folder, *names(jobs)), call, stop=Stop(), hook=hook or books.hook)


def slowly(seed: float) -> Call:
    """An endpoint that takes up to 20 ms, and never the same time."""
    random = Random(seed)

    async def call(request: Request) -> Reply:
        await asyncio.sleep(random.random() * 0.02)
        return answer(request)

    return call


def dealt(folder: Path) -> Path:
    folder.mkdir()
    with Disk(folder).mounted():
        deal(folder, SIZES)
    return folder


# The process that is killed.


class JournalledBooks(Books):
    """Books that outlive the process."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._journal = Journal(path)

    def begin(self, id_: str) -> None:
        self._journal.asked(id_)

    def commit(self, id_: str) -> None:
        self._journal.committed(id_)

    def answering(self, call: Call) -> Call:
        async def journalled(request: Request) -> Reply:
            reply = await call(request)
            self._journal.answered(f"{request.job} {prompt_of(request)}")
            return reply

        return journalled


def die_at(number: int) -> None:
    """Let this process kill itself in front of its durable operation `number`, or in the middle of that write."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return count == number

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            if step():
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return operation

    class Torn(io.FileIO):
        def write(self, data: Any) -> int:
            if step():
                super().write(bytes(data)[: Random(number).randrange(len(data))])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(data) or 0

    def opening(path: Any, mode: str, **kwargs: Any) -> Any:
        return Torn(path, mode)

    mock.patch("aiofiles.threadpool.sync_open", opening).start()
    for name in ("fsync", "fdatasync", "replace", "unlink"):
        mock.patch.object(os, name, dying(getattr(os, name))).start()


def child(folder: str, log: str, seed: str, die: str) -> None:
    books = JournalledBooks(log)
    if die != "never":
        die_at(int(die))
    print("ready", flush=True)
    asyncio.run(mill(Path(folder), books, books.answering(slowly(float(seed)))))


# The one who kills.


@pytest.mark.soak
@pytest.mark.timeout(420)
def test_sigkills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over 200 SIGKILLs, half at random times and half at a random operation on the disk: nothing lost, torn or doubled."""
    began = time.monotonic()
    whole = dealt(tmp_path / "whole")
    asyncio.run(mill(whole, Books(), slowly(0)))
    expected = contents(whole)
    random, kills, runs, ledgers = Random(20), 0, 0, []
    while kills < KILLS:
        folder, ledger = dealt(tmp_path / f"run{runs}"), Ledger()
        ledgers.append(ledger)
        while kill_once(folder, ledger, random):
            kills += 1
        runs += 1
        assert contents(folder) == expected
        assert ledger.most_in_flight <= 3 * SLOTS
        ledger.check()
    in_flight = sum(ledger.in_flight_at_kills for ledger in ledgers)
    asked = sum(len(ledger.asked) for ledger in ledgers)
    paid_twice = sum(ledger.paid_twice for ledger in ledgers)
    with capsys.disabled():
        print(
            f"\n{kills} SIGKILLs over {runs} runs of {len(expected)} files, {SLOTS} slots a job: "
            f"{asked} requests due, {in_flight} in flight at the kills, {paid_twice} of them paid twice, "
            f"0 rows lost, doubled or torn; {time.monotonic() - began:.0f} s"
        )


def kill_once(folder: Path, ledger: Ledger, random: Random) -> bool:
    """One life of the process; returns whether it was killed before it was done."""
    log = folder.with_suffix(".log")
    by_operation = random.random() < 0.5
    arguments = [str(folder), str(log), str(random.random()), str(random.randint(1, 120)) if by_operation else "never"]
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[1:3]))},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=60 if by_operation else random.random() * 0.6)
        except subprocess.TimeoutExpired:
            process.kill()
        status = process.wait()
    assert status in {0, -signal.SIGKILL}
    ledger.add_life(log.read_text().splitlines())
    log.unlink()
    return status != 0


@pytest.mark.soak
@pytest.mark.timeout(420)
def test_power_cuts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over 200 power cuts at random operations, each of which loses or tears what was not synced, change no byte."""
    began = time.monotonic()

    def life(folder: Path, books: Books, seed: float) -> Callable[[], Awaitable[None]]:
        return lambda: mill(folder, books, slowly(seed))

    whole = dealt(tmp_path / "whole")
    live(Disk(whole), life(whole, Books(), 0))
    expected = contents(whole)
    random, cuts, runs, in_flight, paid_twice = Random(21), 0, 0, 0, 0
    while cuts < KILLS:
        folder, books = dealt(tmp_path / f"run{runs}"), Books()
        while True:
            disk = Disk(folder, kill_at(random.randint(1, 150)))
            if not live(disk, life(folder, books, random.random())):
                break
            books.kill()
            disk.crash(random)
            cuts += 1
        runs += 1
        assert contents(folder) == expected
        books.check()
        in_flight, paid_twice = in_flight + books.in_flight_at_kills, paid_twice + books.paid_twice
    with capsys.disabled():
        print(
            f"\n{cuts} power cuts over {runs} runs, {SLOTS} slots a job: {in_flight} in flight at the cuts, "
            f"{paid_twice} paid twice, 0 rows lost, doubled or torn; {time.monotonic() - began:.0f} s"
        )


if __name__ == "__main__":
    child(*sys.argv[1:])
