"""The runner and its `Deferrals`: what it tells them, and what it holds while answers are on their way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_disk import Row, answer, datasets, deal, each, names, prompt_of, quiet, request, virtually

from engine.deferrals import Deferrals, Deferred
from engine.errors import Fatal, Permanent
from engine.events import Event, InputFailed, ShardOpened
from engine.job import Item, Job, Pipeline, ShardRows, Step
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request
from engine.runner import Retry, run
from engine.signals import Stop, Stopped

ROW = {shard: [make_id("source", shard, number) for number in range(3)] for shard in range(2)}


class Answers:
    """An endpoint that defers each prompt `times` times, and the `Deferrals` of its answers, which `arrive` brings."""

    active = True

    def __init__(self, times: int = 1, *, waiting: Collection[str] = (), stop: Stop | None = None) -> None:
        self.told: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.working = 0
        self._times = times
        self._count = Counter[str]()
        self._waiting = set(waiting)
        self._arrived = {group: asyncio.Event() for group in waiting}
        self._stop = stop or Stop()
        self._stop.when_requested(self._let_go)

    async def __call__(self, request: Request) -> Reply:
        assert self.working, "asks while nothing works"
        self.asked.append((request.group, request.input))
        self._count[prompt_of(request)] += 1
        if self._count[prompt_of(request)] <= self._times:
            raise Deferred("it comes with a batch")
        return answer(request)

    def arrive(self, group: str) -> None:
        self._arrived[group].set()

    def waits(self, group: str) -> bool:
        return group in self._waiting

    async def open(self, group: str, committed: Collection[str]) -> None:
        ids = sorted(id_ for id_ in committed if id_)  # the entry of what a sealed shard has cost has none
        self.told.append(" ".join(["open", group, *ids]))

    async def close(self, group: str, deferred: int) -> None:
        self.told.append(f"close {group} {deferred}")
        if deferred:
            self._arrived[group] = asyncio.Event()
        else:
            self._arrived.pop(group, None)

    async def settled(self, group: str) -> None:
        self.told.append(f"settled {group}")
        if group in self._arrived:
            await self._arrived[group].wait()
        self._stop.check()

    def release(self, group: str) -> None:
        self.told.append(f"release {group}")

    def begin_work(self) -> None:
        self.told.append("begin")
        self.working += 1

    def end_work(self) -> None:
        self.told.append("end")
        self.working -= 1
        assert self.working >= 0

    def _let_go(self) -> None:
        for event in self._arrived.values():
            event.set()


def told(deferrals: Answers) -> list[str]:
    """What it was told since the last time."""
    said, deferrals.told = deferrals.told, []
    return said


async def copy(row: Row, call: Call) -> Sequence[Record]:
    await call(request(row.id))
    return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]


def a_job(process: Any = copy, **settings: Any) -> Job:
    job = Job(name="first", reads=("source",), writes="end", row=Row, expand=each("source"), process=process)
    return replace(job, **settings)


async def mill(
    folder: Path,
    pipeline: Pipeline,
    answers: Answers,
    *,
    stop: Stop | None = None,
    hook: Callable[[Event], None] = lambda event: None,
    retry: Retry = lambda job, failure: False,
) -> None:
    """One run whose answers are deferred; whatever becomes of it, in the end nothing is at work."""
    deferrals: Deferrals = answers
    try:
        found = datasets(folder, "source", *names(pipeline))
        await run(pipeline, found, answers, stop=stop or Stop(), hook=hook, retry=retry, deferrals=deferrals)
    finally:
        assert not answers.working


@asynccontextmanager
async def milling(folder: Path, pipeline: Pipeline, answers: Answers, **more: Any) -> AsyncIterator[None]:
    async with asyncio.timeout(600), asyncio.TaskGroup() as tasks:
        tasks.create_task(mill(folder, pipeline, answers, **more))
        await quiet()
        yield


def rows(folder: Path) -> list[str]:
    return [row.parent for row in datasets(folder, "end")["end"].rows()]


@virtually
async def test_a_shard_is_closed_until_its_answers_have_come(tmp_path: Path) -> None:
    """It is opened again as often as it takes. What is committed is not processed again, nor what failed in this run,
    though such failures are retried; the opening is told once."""
    deal(tmp_path, [3])
    quick, failing, asking = ROW[0]
    processed, opened = Counter[str](), list[Event]()

    async def process(row: Row, call: Call) -> Sequence[Record]:
        processed[row.id] += 1
        if row.id == failing:
            raise Permanent("it is", kind="odd")
        return await copy(row, call) if row.id == asking else [Row(id=row.id, parent=row.id, text="")]

    def hook(event: Event) -> None:
        opened.extend([event] if isinstance(event, ShardOpened) else [])

    answers, again = Answers(times=2), lambda job, failure: True
    committed = " ".join(sorted([quick, failing]))
    async with milling(tmp_path, [a_job(process)], answers, hook=hook, retry=again):
        assert told(answers) == ["begin", "open first/0", "close first/0 1", "end", "settled first/0"]
        answers.arrive("first/0")
        await quiet()
        assert told(answers) == ["begin", f"open first/0 {committed}", "close first/0 1", "end", "settled first/0"]
        answers.arrive("first/0")
    assert told(answers) == ["begin", f"open first/0 {committed}", "close first/0 0", "end", "release first/0"]
    assert processed == {quick: 1, failing: 1, asking: 3}
    assert answers.asked == [("first/0", asking)] * 3
    assert len(opened) == 1
    assert rows(tmp_path) == [quick, asking]
    await mill(tmp_path, [a_job(process)], answers, retry=again)
    committed = " ".join(sorted([quick, asking]))
    reopened = ["begin", "release first/0", f"open first/0 {committed}"]
    assert told(answers) == [*reopened, "close first/0 0", "end", "release first/0"]
    await mill(tmp_path, [a_job(process)], answers)
    assert told(answers) == ["release first/0"], "a sealed shard is found, and not opened"


@virtually
async def test_all_that_are_deferred_are_counted(tmp_path: Path) -> None:
    """Who has the answers hears how many inputs of a closed shard wait for them: a batch is sent when all are in it."""
    deal(tmp_path, [3])
    answers = Answers()
    async with milling(tmp_path, [a_job()], answers):
        assert "close first/0 3" in answers.told
        answers.arrive("first/0")
    assert rows(tmp_path) == ROW[0]


async def test_who_failed_asks_again_under_another_name(tmp_path: Path) -> None:
    """A batch may still hold the answer to the first try; without deferrals the name stays. Each failure counts."""
    deal(tmp_path, [2])
    first, second = ROW[0][:2]
    asked: list[str] = []

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        raise Permanent("no", kind="odd")

    async def call(request: Request) -> Reply:
        asked.append(request.input)
        return answer(request)

    async def once(deferrals: Answers | None) -> list[str]:
        stop = Stop()

        def at_first(event: Event) -> None:
            if isinstance(event, InputFailed):
                stop.request()

        found = datasets(tmp_path, "source", "end")
        with pytest.raises(Stopped):
            await run(
                [a_job(process, slots=1)],
                found,
                deferrals or call,
                stop=stop,
                hook=at_first,
                retry=lambda job, failure: True,
                deferrals=deferrals,
            )
        names = [name for _, name in deferrals.asked] if deferrals else list(asked)
        asked.clear()
        return names

    assert await once(Answers(0)) == [first]
    assert await once(Answers(0)) == [f"{first} 1"]
    assert await once(Answers(0)) == [f"{first} 2"]
    assert await once(None) == [first]
    assert second not in asked


@virtually
async def test_a_shard_in_whose_turn_to_be_reviewed_others_wait_is_closed_too(tmp_path: Path) -> None:
    """A shard that is finished, behind one that waits for answers, holds nothing; it is reviewed when it is its turn."""
    deal(tmp_path, [1, 1])
    reviewed: list[str] = []

    async def process(row: Row, call: Call) -> Sequence[Record]:
        return await copy(row, call) if row.id == ROW[0][0] else [Row(id=row.id, parent=row.id, text="")]

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        await asyncio.sleep(0)
        reviewed.extend(row.parent for row in rows)
        return {}

    answers = Answers()
    async with milling(tmp_path, [a_job(process, review=review)], answers):
        assert not answers.working
        assert "close first/1 0" in answers.told
        assert not reviewed
        answers.arrive("first/0")
    assert reviewed == rows(tmp_path) == [ROW[0][0], ROW[1][0]]
    assert answers.told.count(f"open first/1 {ROW[1][0]}") == 1, "it is opened again once"


@virtually
async def test_a_stop_lets_shards_go_that_wait_for_answers(tmp_path: Path) -> None:
    """They stay as they are, with those that wait for them; the run ends at once, and the next one makes the rest."""
    deal(tmp_path, [1, 1])
    stop = Stop()
    answers = Answers(stop=stop)

    async def process(row: Row, call: Call) -> Sequence[Record]:
        return await copy(row, call) if row.id == ROW[0][0] else [Row(id=row.id, parent=row.id, text="")]

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        return {}

    job = a_job(process, review=review)
    with pytest.raises(ExceptionGroup) as raised:
        async with milling(tmp_path, [job], answers, stop=stop):
            stop.request()
    assert raised.group_contains(Stopped)
    assert len(raised.value.exceptions) == 1
    assert rows(tmp_path) == []
    await mill(tmp_path, [job], Answers(0))
    assert rows(tmp_path) == [ROW[0][0], ROW[1][0]]


@virtually
async def test_a_shard_that_lacks_only_answers_of_an_earlier_process_is_not_opened(tmp_path: Path) -> None:
    """The shards behind it are worked on meanwhile; when its answers have come it is opened like any other."""
    deal(tmp_path, [1, 1])
    answers = Answers(0, waiting=["first/0"])
    async with milling(tmp_path, [a_job()], answers):
        assert [group for group, _ in answers.asked] == ["first/1"]
        assert datasets(tmp_path, "end")["end"].sealed() == [1]
        assert not answers.working
        answers.arrive("first/0")
    assert rows(tmp_path) == [ROW[0][0], ROW[1][0]]


@pytest.mark.parametrize("earlier", [False, True], ids=["asked now", "of an earlier process"])
@virtually
async def test_answers_come_in_any_order(tmp_path: Path, earlier: bool) -> None:
    """A shard whose answers have come is opened, though one before it still waits for its own."""
    deal(tmp_path, [1, 1])
    answers = Answers(0, waiting=["first/0", "first/1"]) if earlier else Answers()
    async with milling(tmp_path, [a_job()], answers):
        answers.arrive("first/1")
        await quiet()
        assert datasets(tmp_path, "end")["end"].sealed() == [1]
        answers.arrive("first/0")
    assert rows(tmp_path) == [ROW[0][0], ROW[1][0]]


async def test_a_shard_that_was_not_fed_to_its_end_waits_for_nothing(tmp_path: Path) -> None:
    """Where a stop came in the middle of its feeding, its closing tells of no deferred inputs: the rest was not asked."""
    deal(tmp_path, [3])
    stop = Stop()
    answers = Answers(stop=stop)

    async def process(row: Row, call: Call) -> Sequence[Record]:
        if row.id == ROW[0][1]:
            stop.request()
        return await copy(row, call)

    with pytest.raises(Stopped):
        await mill(tmp_path, [a_job(process, slots=1)], answers, stop=stop)
    assert answers.told == ["begin", "open first/0", "close first/0 0", "end"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_step_is_work(tmp_path: Path, fails: bool) -> None:
    """While a step runs, requests may come: nobody sends a batch because all others wait. So too where it fails."""
    answers, seen = Answers(), list[int]()

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append(answers.working)
        if fails:
            raise Fatal("the disk is full")

    step = Step(name="step", run=work)
    if fails:
        with pytest.raises(Fatal, match=r"^the disk is full$"):
            await mill(tmp_path, [step], answers)
    else:
        await mill(tmp_path, [step], answers)
    assert seen == [1]
    assert answers.told == ["begin", "end"]


async def test_a_shard_that_cannot_be_opened_is_no_work(tmp_path: Path) -> None:
    """An error while it is opened ends the run with its line, and ends what was told to begin."""
    deal(tmp_path, [1])
    answers = Answers()

    def expand(rows: ShardRows) -> list[Item]:
        raise Fatal("do this")

    with pytest.raises(Fatal, match=r"^do this$"):
        await mill(tmp_path, [a_job(expand=expand)], answers)
    assert answers.told == ["begin", "end"]
