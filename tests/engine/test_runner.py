from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from fake_disk import (
    Books,
    Disk,
    Row,
    answer,
    contents,
    datasets,
    deal,
    each,
    full_from,
    grow,
    kill_at,
    live,
    names,
    outcome,
    prompt_of,
    quiet,
    request,
    shuffled,
    virtually,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.elsewhere import OpenShard
from engine.errors import BadInput, Fatal, GristmillError, Permanent
from engine.events import Event, InputDone, InputDropped, InputFailed, JobFinished, JobStarted, ShardOpened, ShardSealed
from engine.failed_replies import read_replies
from engine.job import Flaw, Item, Job, Pipeline, ShardRows, Step
from engine.pending import finished
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request, Usage
from engine.runner import OPEN_SHARDS, Retry, run
from engine.shard_run import JobContext, ShardRun
from engine.shards import Failure, total
from engine.signals import Stop, Stopped

SIZES = [5, 0, 9, 1, 3]


async def mill(
    folder: Path,
    pipeline: Pipeline,
    books: Books,
    *,
    call: Call | None = None,
    stop: Stop | None = None,
    retry: Retry = lambda job, failure: False,
    hook: Callable[[Event], None] = lambda event: None,
    also: Sequence[str] = (),
) -> None:
    """One run of `pipeline` over the datasets in `folder`."""

    def both(event: Event) -> None:
        books.hook(event)
        hook(event)

    found = datasets(folder, *names(pipeline), *also)
    await run(pipeline, found, call or shuffled(0), stop=stop or Stop(), hook=both, retry=retry)


def chain(books: Books, **settings: Any) -> list[Job]:
    """Two jobs, the second of which follows the first and reviews its rows."""
    return [
        grow("first", reads="source", writes="middle", books=books, **settings),
        grow("second", reads="middle", writes="end", books=books, review=drop_some, **settings),
    ]


async def drop_some(rows: Sequence[Row]) -> Mapping[str, Permanent]:
    await asyncio.sleep(0)
    return {row.parent: Permanent("dull", kind="dull") for row in rows if len(row.text) == 40}


def fresh(path: Path, sizes: Sequence[int] = SIZES) -> Path:
    path.mkdir()
    with Disk(path).mounted():
        deal(path, sizes)
    return path


def undisturbed(
    path: Path, sizes: Sequence[int] = SIZES, jobs: Callable[[Books], Pipeline] = chain
) -> dict[str, bytes]:
    folder, books = fresh(path, sizes), Books()
    live(Disk(folder), lambda: mill(folder, jobs(books), books))
    assert books.paid_twice == 0
    return contents(folder)


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    async def task() -> None:
        await work

    async with asyncio.TaskGroup() as tasks:
        yield tasks.create_task(task())


class Gate:
    """An endpoint that answers only what it was opened for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._open: dict[str, asyncio.Event] = {}
        self._all = False

    def open(self, *prompts: str) -> None:
        for prompt in prompts:
            self._event(prompt).set()

    def open_all(self) -> None:
        self._all = True
        self.open(*self._open)

    async def __call__(self, request: Request) -> Reply:
        prompt = prompt_of(request)
        self.asked.append(prompt)
        if not self._all:
            await self._event(prompt).wait()
        return answer(request)

    def _event(self, prompt: str) -> asyncio.Event:
        return self._open.setdefault(prompt, asyncio.Event())


# What a run makes.


async def test_rows_and_seals(tmp_path: Path) -> None:
    """Every input has just its rows or its failure, in order, in the shard of the same number, and all is counted."""
    folder, books = fresh(tmp_path / "run"), Books()
    events: list[Event] = []
    await mill(folder, chain(books)[:1], books, hook=events.append)
    for index, size in enumerate(SIZES):
        ids = [make_id("source", index, number) for number in range(size)]
        rows, failed = [], []
        for id_ in ids:
            try:
                rows += outcome(id_)
            except Permanent as error:
                failed.append((id_, error.kind, str(error)))
        dataset = datasets(folder, "middle")["middle"]
        seal = dataset.shard(index).seal()
        assert seal is not None
        assert dataset.read(index) == rows
        assert (seal.inputs, seal.rows) == (size, len(rows))
        assert [(failure.id, failure.kind, failure.reason) for failure in seal.failures] == failed
        assert seal.usage == total(answer(request(id_)).usage for id_ in ids)
        dataset.shard(index).verify()
    assert sum(isinstance(event, (InputDone, InputFailed)) for event in events) == sum(SIZES)
    assert [event.shard for event in events if isinstance(event, ShardOpened)] == [0, 1, 2, 3, 4]


async def test_the_order_in_which_a_shard_is_fed(tmp_path: Path) -> None:
    """A job may start its items in another order; its rows stand as ever. Requests bear the place of their job."""
    folder, books = fresh(tmp_path / "run", [6]), Books()
    asked: list[tuple[str, int, str]] = []

    async def call(request: Request) -> Reply:
        asked.append((request.job, request.rank, prompt_of(request)))
        return answer(request)

    def last_first(items: Sequence[Item]) -> list[Item]:
        return list(reversed(items))

    await mill(folder, chain(books, feeds=last_first, slots=1), books, call=call)
    ids = [make_id("source", 0, number) for number in range(6)]
    assert [prompt for job, _, prompt in asked if job == "first"] == ids[::-1]
    assert {(job, rank) for job, rank, _ in asked} == {("first", 0), ("second", 1)}
    plain = fresh(tmp_path / "plain", [6])
    await mill(plain, chain(Books()), Books())
    assert contents(folder) == contents(plain)


async def test_what_is_told_of_inputs_and_shards(tmp_path: Path) -> None:
    """Events have the rows, the failure and the cost of each input, and what an open shard holds; requests say who asks."""
    folder, books, stop = fresh(tmp_path / "run", [3]), Books(), Stop()
    ids = [make_id("source", 0, number) for number in range(3)]
    asked: list[tuple[str, str]] = []
    told: list[Event] = []

    async def call(request: Request) -> Reply:
        asked.append((request.group, request.input))
        return answer(request)

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request("text"))
        if row.id == ids[1]:
            raise Permanent("because", kind="refused").replying("I will not")
        return [Row(id=make_id("copy", row.id, number), parent=row.id, text="") for number in range(2)]

    def note(event: Event) -> None:
        told.append(event)
        if isinstance(event, InputFailed):
            stop.request()

    jobs = [grow("first", reads="source", writes="end", books=books, process=process, slots=1)]
    assert isinstance(await ending(mill(folder, jobs, books, call=call, hook=note, stop=stop)), Stopped)
    await mill(folder, jobs, books, call=call, hook=told.append)
    paid = answer(request("text")).usage
    assert asked == [("first/0", id_) for id_ in ids]
    assert told == [
        JobStarted(job="first"),
        ShardOpened(job="first", shard=0, inputs=3, done=0, failed=0, usage=Usage()),
        InputDone(job="first", id=ids[0], rows=2, usage=paid),
        InputFailed(job="first", id=ids[1], kind="refused", reason="because", usage=paid),
        JobStarted(job="first"),
        ShardOpened(job="first", shard=0, inputs=3, done=2, failed=1, usage=total([paid] * 2)),
        InputDone(job="first", id=ids[2], rows=2, usage=paid),
        ShardSealed(job="first", shard=0, inputs=3, rows=4, failed=1, usage=total([paid] * 3)),
        JobFinished(job="first"),
    ]
    assert read_replies(datasets(folder, "end")["end"].shard(0).replies) == {ids[1]: "I will not"}


async def test_nothing_is_left_to_do(tmp_path: Path) -> None:
    """A second run asks nothing, changes no byte and finds every shard sealed."""
    folder, books = fresh(tmp_path / "run"), Books()
    await mill(folder, chain(books), books)
    before = contents(folder)
    events: list[Event] = []
    await mill(folder, chain(books), books, hook=events.append)
    assert contents(folder) == before
    assert {type(event) for event in events} == {JobStarted, ShardSealed, JobFinished}
    sealed = [event for event in events if isinstance(event, ShardSealed)]
    assert all(event.found for event in sealed)
    assert [event.shard for event in sealed if event.job == "second"] == list(range(len(SIZES)))


async def test_rows_of_an_earlier_release_are_kept_while_nothing_is_to_do(tmp_path: Path) -> None:
    """A run that is whole goes on under a new version and changes no byte; more inputs are refused before any is asked."""

    def made(release: int, books: Books) -> list[Job]:
        first, second = chain(books)
        return [replace(first, fingerprint={"release": release}, versions=frozenset(["release"])), second]

    folder, books = fresh(tmp_path / "run", SIZES), Books()
    await mill(folder, made(1, books), books)
    before = contents(folder)
    await mill(folder, made(2, books), books)
    assert contents(folder) == before
    deal(folder, [*SIZES, 3])
    processed = books.processed.copy()
    with pytest.raises(BadInput, match=r"release was 1, is 2.*--redo first"):
        await mill(folder, made(2, books), books)
    assert books.processed == processed


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0]])
async def test_nothing_to_do(tmp_path: Path, sizes: list[int]) -> None:
    """No shards, and shards without rows, run to the end."""
    folder, books = fresh(tmp_path / "run", sizes), Books()
    finished: list[str] = []
    await mill(
        folder,
        chain(books),
        books,
        hook=lambda event: finished.append(event.job) if type(event) is JobFinished else None,
    )
    assert finished == ["first", "second"]
    assert datasets(folder, "end")["end"].sealed() == list(range(len(sizes)))


async def test_an_id_is_processed_once(tmp_path: Path) -> None:
    """Items of one id are one input, however often they are named."""
    folder, books = fresh(tmp_path / "run", [3]), Books()

    def twice(rows: ShardRows) -> list[Item]:
        return [*each("source")(rows), *each("source")(rows)]

    await mill(folder, [grow("first", reads="source", writes="middle", books=books, expand=twice)], books)
    assert set(books.processed.values()) == {1}
    seal = datasets(folder, "middle")["middle"].shard(0).seal()
    assert seal is not None
    assert seal.inputs == 3


async def test_what_is_no_text_fails_one_record(tmp_path: Path) -> None:
    """Half a surrogate pair in a row, or in a reason, is this record's failure: the run goes on and it can be read."""
    folder, books = fresh(tmp_path / "run", [3]), Books()
    ids = [make_id("source", 0, number) for number in range(3)]

    async def process(row: Row, call: Call) -> Sequence[Record]:
        if row.id == ids[0]:
            raise Permanent("cannot read a\udce9b.pdf", kind="damaged")
        return [Row(id="x", parent=row.id, text="\ud83d" if row.id == ids[1] else "fine")]

    await mill(folder, [grow("first", reads="source", writes="middle", books=books, process=process)], books)
    dataset = datasets(folder, "middle")["middle"]
    seal = dataset.shard(0).seal()
    assert seal is not None
    assert [(failure.kind, failure.id) for failure in seal.failures] == [("damaged", ids[0]), ("not_text", ids[1])]
    assert seal.failures[0].reason == "cannot read a?b.pdf"
    assert [row.text for row in dataset.rows()] == ["fine"]


# The order of things.


@virtually
async def test_jobs_follow_shard_by_shard(tmp_path: Path) -> None:
    """A job works on a shard as soon as the job above has sealed it, while that one works on the next."""
    folder, books, gate = fresh(tmp_path / "run", [1, 1]), Books(), Gate()
    first, second = make_id("source", 0, 0), make_id("source", 1, 0)
    sealed: list[tuple[str, int]] = []

    async def one_row(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        return [Row(id=f"{row.id}+", parent=row.id, text="")]

    jobs = [
        grow("first", reads="source", writes="middle", books=books, process=one_row),
        grow("second", reads="middle", writes="end", books=books, process=one_row),
    ]

    def note(event: Event) -> None:
        if isinstance(event, ShardSealed):
            sealed.append((event.job, event.shard))

    async with running(mill(folder, jobs, books, call=gate, hook=note)) as task:
        gate.open(first, f"{first}+")
        await quiet()
        assert sealed == [("first", 0), ("second", 0)]
        assert not task.done()
        gate.open(second, f"{second}+")
    assert sealed[2:] == [("first", 1), ("second", 1)]


async def test_waits_for(tmp_path: Path) -> None:
    """A job begins when what it waits for has ended; it prepares before its first input and concludes after its last."""
    folder, books = fresh(tmp_path / "run", [2]), Books()
    story: list[str] = []

    def tell(text: str) -> Callable[[], Awaitable[None]]:
        async def told() -> None:
            await asyncio.sleep(0)
            story.append(text)

        return told

    async def process(row: Row, call: Call) -> Sequence[Record]:
        story.append("second works")
        return []

    pipeline = [
        grow("second", reads="source", writes="end", books=books, process=process, waits_for=("step", "not here"))
    ]
    pipeline = [replace(pipeline[0], prepare=tell("second prepares"), conclude=tell("second concludes"))]
    first = grow("first", reads="source", writes="middle", books=books, conclude=tell("first concludes"))
    step = Step(name="step", run=tell("step"), waits_for=("first",))
    last = Step(name="last", run=tell("last"), waits_for=("second",))
    await mill(folder, [last, *pipeline, step, first], books)
    assert story == [
        "first concludes",
        "step",
        "second prepares",
        "second works",
        "second works",
        "second concludes",
        "last",
    ]


@virtually
async def test_a_step_fills_a_dataset(tmp_path: Path) -> None:
    """A job works on a shard that a step has written while the step writes the next one."""
    folder, books, more = tmp_path, Books(), asyncio.Event()
    found = datasets(folder, "source", "middle")

    async def write() -> None:
        for index in range(2):
            row = Row(id=make_id("source", index), parent="", text="")
            await asyncio.to_thread(found["source"].write_sealed, index, [row])
            found["source"].notify()
            await more.wait()

    step = Step(name="deal", run=write, writes="source")
    job = grow("first", reads="source", writes="middle", books=books)
    async with running(run([step, job], found, shuffled(0), stop=Stop(), hook=books.hook)):
        await quiet()
        assert len(books.committed) == 1
        more.set()
    assert len(books.committed) == 2


async def test_reads_two_datasets(tmp_path: Path) -> None:
    """A job that reads two datasets gets both shards of one number, and starts when both are sealed."""
    folder, books = fresh(tmp_path / "run", [2, 3]), Books()
    deal(folder, [1, 2], "other")
    seen: list[tuple[int, int, int]] = []

    def both(rows: ShardRows) -> list[Item]:
        seen.append((rows.index, len(rows["source"]), len(rows["middle"])))
        return []

    jobs = [
        replace(grow("second", reads="source", writes="end", books=books, expand=both), reads=("source", "middle")),
        grow("first", reads="other", writes="middle", books=books, process=copy),
    ]
    await mill(folder, jobs, books)
    assert seen == [(0, 2, 1), (1, 3, 2)]


async def copy(row: Row, call: Call) -> Sequence[Record]:
    """A job that makes one row of each."""
    await call(request(row.id))
    return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]


# Bounds.


@pytest.mark.parametrize("slots", [1, 3, 64])
async def test_in_flight_is_bounded(tmp_path: Path, slots: int) -> None:
    """Never more inputs are between their start and their commit than there are slots, and the slots are used."""
    folder, books = fresh(tmp_path / "run", [40, 2, 0, 70, 30]), Books()
    await mill(folder, chain(books, slots=slots)[:1], books, call=shuffled(1, longest=20))
    assert len(books.committed) == 142
    assert books.most_in_flight <= slots
    assert books.most_in_flight > slots // 2


@virtually
async def test_slots_are_held_until_the_commit(tmp_path: Path) -> None:
    """A slow disk is backpressure: nothing more is asked than can be in flight while nothing can be committed."""
    folder, books, gate = fresh(tmp_path / "run", [50]), Books(), Gate()
    async with running(mill(folder, chain(books, slots=4)[:1], books, call=gate)) as task:
        await quiet()
        assert len(gate.asked) == 4
        gate.open(gate.asked[2])
        await quiet()
        assert len(gate.asked) == 5
        assert not task.done()
        gate.open_all()


@virtually
async def test_open_shards_are_bounded(tmp_path: Path) -> None:
    """However many shards are ready, only so many are open at a time."""
    folder, books, gate = fresh(tmp_path / "run", [1] * (2 * OPEN_SHARDS)), Books(), Gate()
    opened: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, ShardOpened):
            opened.append(event.shard)

    async with running(mill(folder, chain(books)[:1], books, call=gate, hook=note)):
        await quiet()
        assert opened == list(range(OPEN_SHARDS))
        gate.open(make_id("source", 3, 0))
        await quiet()
        assert opened == list(range(OPEN_SHARDS + 1))
        assert datasets(folder, "middle")["middle"].sealed() == [3]
        gate.open_all()
    assert len(opened) == 2 * OPEN_SHARDS


@virtually
async def test_shards_that_are_worked_on_elsewhere(tmp_path: Path) -> None:
    """Only jobs that other processes take go there, and as many shards of them are open as all processes have places for."""
    folder, books, gate = fresh(tmp_path / "run", [1] * 5), Books(), Gate()
    opened: list[tuple[str, int]] = []

    class Two:
        size = 2

        def takes(self, job: str) -> bool:
            return {"first": True, "second": False}[job]

        async def open(self, context: JobContext, index: int, begun: int | None) -> OpenShard:
            assert begun is None
            opened.append((context.job.name, index))
            return await ShardRun.open(context, index, begun)

    jobs = [
        grow("first", reads="source", writes="middle", books=books, process=copy),
        grow("second", reads="source", writes="end", books=books, process=copy),
    ]
    found, two = datasets(folder, "source", "middle", "end"), Two()
    with mock.patch("engine.runner.OPEN_SHARDS", 2):
        async with running(run(jobs, found, gate, stop=Stop(), hook=books.hook, elsewhere=two)):
            await quiet()
            assert opened == [("first", index) for index in range(4)]
            assert len(gate.asked) == 4 + 2
            gate.open_all()
    assert opened[4:] == [("first", 4)]
    assert found["middle"].sealed() == found["end"].sealed() == [0, 1, 2, 3, 4]


@pytest.mark.slow
@virtually
async def test_items_are_let_go(tmp_path: Path) -> None:
    """An input is not kept in memory once it is processed."""
    folder, books, gate = fresh(tmp_path / "run", [200]), Books(), Gate()
    gate.open_all()
    last = make_id("source", 0, 199)
    gate._all = False

    class Value:
        def __init__(self, row: Row) -> None:
            self.id = row.id

    alive: weakref.WeakSet[Value] = weakref.WeakSet()

    def expand(rows: ShardRows) -> list[Item]:
        items = [Item(id=row.id, value=Value(row)) for row in rows["source"]]
        alive.update(item.value for item in items)
        return items

    async def process(value: Value, call: Call) -> Sequence[Record]:
        if value.id == last:
            await call(request(last))
        return []

    job = grow("first", reads="source", writes="middle", books=books, expand=expand, process=process, slots=4)
    async with running(mill(folder, [job], books, call=gate)):
        while len(books.committed) < 199:
            await quiet()
        gc.collect()
        assert {value.id for value in alive} == {last}
        gate.open(last)


def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    """A run does all of its work on the disk in threads: no open, write, sync or rename on the loop's thread."""
    folder, books = fresh(tmp_path / "run"), Books()
    disk = Disk(folder)
    assert not live(disk, lambda: mill(folder, chain(books), books))
    assert len(disk.operations) > 100
    assert disk.on_loop_thread == []


# Stopping.


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14, 20])
@pytest.mark.parametrize("slots", [1, 4, 64])
async def test_stop_and_go_on(tmp_path: Path, after: int, slots: int) -> None:
    """A stop commits what is in flight and asks nothing more; the next run asks the rest, and the bytes are the same."""
    whole, stopped, books = fresh(tmp_path / "whole"), fresh(tmp_path / "stopped"), Books()
    await mill(whole, chain(Books()), Books())
    stop, answers = Stop(), 0
    endpoint = shuffled(after, longest=9)

    async def call(request: Request) -> Reply:
        nonlocal answers
        stop.check()
        reply = await endpoint(request)
        answers += 1
        if answers == after:
            stop.request()
        return reply

    with pytest.raises(Stopped):
        await mill(stopped, chain(books, slots=slots), books, call=call, stop=stop)
    assert len(books.committed) == answers
    assert answers <= after + 2 * slots
    books.kill()
    await mill(stopped, chain(books), books)
    assert contents(stopped) == contents(whole)
    assert sum(books.processed.values()) - books.in_flight_at_kills == len(books.committed)


@virtually
async def test_a_stop_lets_waiters_go(tmp_path: Path) -> None:
    """Inputs that wait for a limit when the run stops stay undone, and are no failures."""
    folder, books, stop = fresh(tmp_path / "run", [10]), Books(), Stop()

    async def call(request: Request) -> Reply:
        await stop.sleep(3600)
        return answer(request)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ending(mill(folder, chain(books), books, call=call, stop=stop)))
        await quiet()
        assert len(books.in_flight) == 10
        stop.request()
    assert isinstance(task.result(), Stopped)
    assert not books.committed
    await mill(folder, chain(books := Books()), books)
    assert len([name for name in books.committed if name.startswith("first")]) == 10


async def ending(work: Awaitable[None]) -> GristmillError:
    """The error in which a run ends."""
    with pytest.raises(GristmillError) as raised:
        await work
    return raised.value


@virtually
async def test_fatal_drains_the_others(tmp_path: Path) -> None:
    """A fatal error in one job ends the run with its line; what other jobs have in flight is committed first."""
    folder, books, gate, stop = fresh(tmp_path / "run", [6]), Books(), Gate(), Stop()

    async def refuse(row: Row, call: Call) -> Sequence[Record]:
        await quiet()
        raise Fatal("the key is wrong; put the right one into OPENAI_API_KEY")

    jobs = [
        grow("good", reads="source", writes="middle", books=books, process=copy, slots=4),
        grow("bad", reads="source", writes="end", books=books, process=refuse),
    ]
    answered: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, InputDone):
            answered.append(event.id)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ending(mill(folder, jobs, books, call=gate, stop=stop, hook=note)))
        await quiet()
        await quiet()
        assert stop.requested
        assert not task.done()
        asked = list(gate.asked)
        gate.open_all()
    assert str(task.result()) == "the key is wrong; put the right one into OPENAI_API_KEY"
    assert len(asked) == 4
    assert sorted(answered) == sorted(asked) == sorted(gate.asked)
    good = datasets(folder, "middle", "end")
    assert {entry.id for entry in good["middle"].shard(0).entries()} == set(asked)
    assert good["end"].shard(0).entries() == []


@pytest.mark.parametrize("where", ["prepare", "expand", "review", "conclude", "variant", "step"])
async def test_fatal_anywhere_is_one_line(tmp_path: Path, where: str) -> None:
    """A fatal error in any part of a job ends the run with its line, not with a traceback of groups."""
    folder, books = fresh(tmp_path / "run", [3, 3]), Books()

    def raises(*_: object) -> Any:
        raise Fatal("do this")

    async def raises_later(*_: object) -> Any:
        raise Fatal("do this")

    part = {where: raises if where in {"expand", "variant"} else raises_later}
    job = grow("first", reads="source", writes="middle", books=books, **({} if where == "step" else part))
    step = Step(name="step", run=raises_later if where == "step" else asyncio.Event().set)  # type: ignore[arg-type]
    with pytest.raises(Fatal, match=r"^do this$"):
        await mill(folder, [job, step] if where == "step" else [job], books)
    await mill(folder, [grow("first", reads="source", writes="middle", books=Books())], Books())


async def test_a_stopped_review(tmp_path: Path) -> None:
    """A review that is let go by the stop leaves its shard open, and is done again by the next run."""
    folder, books, stop = fresh(tmp_path / "run", [3, 3]), Books(), Stop()
    reviewed: list[int] = []

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        reviewed.append(len(rows))
        stop.request()
        await stop.sleep(1)
        return {}

    def job(review: Callable[[Sequence[Row]], Any]) -> Job:
        return grow("first", reads="source", writes="middle", books=books, process=copy, review=review)

    with pytest.raises(Stopped):
        await mill(folder, [job(review)], books, stop=stop)
    assert reviewed == [3]
    assert datasets(folder, "middle")["middle"].sealed() == []
    await mill(folder, [job(drop_some)], books)
    assert datasets(folder, "middle")["middle"].sealed() == [0, 1]


@pytest.mark.parametrize("after", [0, 1, 3, 8, 13])
@virtually
async def test_cancelled_and_gone_on(tmp_path: Path, after: int) -> None:
    """Cancelled at once, as by a second signal, a run loses no more than what was in flight."""
    whole, cancelled, books = fresh(tmp_path / "whole"), fresh(tmp_path / "cancelled"), Books()
    await mill(whole, chain(Books()), Books())
    endpoint, answers = shuffled(after, longest=9), 0

    async def call(request: Request) -> Reply:
        nonlocal answers
        reply = await endpoint(request)
        if answers == after:
            task.cancel()
        answers += 1
        return reply

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(mill(cancelled, chain(books, slots=4), books, call=call))
    assert task.cancelled()
    books.kill()
    await quiet()
    await mill(cancelled, chain(books), books)
    books.check()
    assert contents(cancelled) == contents(whole)


# Reviews.


@virtually
async def test_reviews_in_order(tmp_path: Path) -> None:
    """Shards that are finished out of order are reviewed in order, each once, before they are sealed."""
    folder, books, gate = fresh(tmp_path / "run", [1, 2, 0, 3]), Books(), Gate()
    story: list[str] = []

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        story.append(f"review {len(rows)}")
        await asyncio.sleep(0)
        return {}

    def note(event: Event) -> None:
        if isinstance(event, ShardSealed):
            story.append(f"seal {event.inputs}")

    job = grow("first", reads="source", writes="middle", books=books, process=copy, review=review)
    async with running(mill(folder, [job], books, call=gate, hook=note)):
        await quiet()
        gate.open(*[make_id("source", 3, number) for number in range(3)])
        gate.open(make_id("source", 1, 0), make_id("source", 1, 1))
        await quiet()
        assert len(books.committed) == 5
        assert story == []
        gate.open_all()
    assert story == ["review 1", "seal 1", "review 2", "seal 2", "review 0", "seal 0", "review 3", "seal 3"]


async def test_a_review_is_shown_the_claims(tmp_path: Path) -> None:
    """Where a job makes claims of a shard's rows, its review is shown these, and what it drops is told."""
    folder, books = fresh(tmp_path / "run", [3, 2]), Books()
    shown: list[Sequence[str]] = []
    told: list[Event] = []

    async def review(claims: Sequence[str]) -> Mapping[str, Permanent]:
        shown.append(claims)
        return {claims[2]: Permanent("a copy", kind="copy")} if len(claims) > 2 else {}

    def claims(rows: Iterable[Row]) -> list[str]:
        return [row.parent for row in rows]

    job = grow("first", reads="source", writes="end", books=books, process=copy, review=review)
    await mill(folder, [replace(job, claims=claims)], books, hook=told.append)
    assert shown == [[make_id("source", shard, row) for row in range(count)] for shard, count in enumerate([3, 2])]
    dropped = [event for event in told if isinstance(event, InputDropped)]
    assert dropped == [InputDropped(job="first", id=shown[0][2], kind="copy", reason="a copy")]


@virtually
async def test_cancelled_while_shards_wait_for_their_review(tmp_path: Path) -> None:
    """Shards that wait for the one before them end with it, and nothing but the cancelling is raised."""
    folder, books, gate = fresh(tmp_path / "run", [1, 2, 1]), Books(), Gate()

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        await asyncio.sleep(0)
        return {}

    job = grow("first", reads="source", writes="middle", books=books, process=copy, review=review)
    task = asyncio.create_task(mill(folder, [job], books, call=gate))
    await quiet()
    gate.open(make_id("source", 1, 0), make_id("source", 1, 1), make_id("source", 2, 0))
    await quiet()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert datasets(folder, "middle")["middle"].sealed() == []


@virtually
async def test_reviews_in_order_behind_sealed_shards(tmp_path: Path) -> None:
    """A shard that is opened again is reviewed before those behind it, sealed ones between them or not."""
    folder, books, gate = fresh(tmp_path / "run", [1, 1, 1]), Books(), Gate()
    ids = [make_id("source", index, 0) for index in range(3)]
    reviewed: list[str] = []
    good = False

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        if row.id == ids[0] and not good:
            raise Permanent("not yet", kind="flaky")
        if row.id == ids[2] and not good:
            raise Stopped("let go by the stop")
        return [Row(id=row.id, parent=row.id, text="")]

    async def review(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        reviewed.extend(row.id for row in rows)
        return {}

    job = grow("first", reads="source", writes="middle", books=books, process=process, review=review)
    stop = Stop()

    def stop_behind_two(event: Event) -> None:
        if isinstance(event, ShardSealed) and event.shard == 1:
            stop.request()

    gate.open(ids[0], ids[1])
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ending(mill(folder, [job], books, call=gate, stop=stop, hook=stop_behind_two)))
        while not stop.requested:
            await quiet()
        gate.open(ids[2])
    assert isinstance(task.result(), Stopped)
    assert datasets(folder, "middle")["middle"].sealed() == [0, 1]
    assert reviewed == [ids[1]]
    reviewed.clear()
    good, gate = True, Gate()
    again = lambda job, failure: failure.kind == "flaky"
    async with running(mill(folder, [job], Books(), call=gate, retry=again)):
        await quiet()
        gate.open(ids[2])
        await quiet()
        assert gate.asked == [ids[0], ids[2]]
        assert reviewed == [], "the last shard waits for the first one"
        gate.open_all()
    assert reviewed == [ids[0], ids[2]]


async def test_refused_rows_are_failures(tmp_path: Path) -> None:
    """What a review refuses is not in the data, and is counted with its reason."""
    folder, books = fresh(tmp_path / "run", [9]), Books()
    await mill(folder, chain(books), books)
    end = datasets(folder, "end")["end"]
    seal = end.shard(0).seal()
    assert seal is not None
    assert {failure.reason for failure in seal.failures if failure.kind == "dull"} == {"dull"}
    assert all(len(row.text) != 40 for row in end.rows())


# Opening again.


async def test_a_new_variant_asks_only_what_is_new(tmp_path: Path) -> None:
    """When a job's variant changes, its shards are opened again and only new inputs are asked, below it too."""
    folder, books = fresh(tmp_path / "run", [4, 4]), Books()

    def jobs(count: int) -> list[Job]:
        def expand(rows: ShardRows) -> list[Item]:
            return list(each("source")(rows))[:count]

        return [
            grow(
                "first",
                reads="source",
                writes="middle",
                books=books,
                process=seen("first"),
                expand=expand,
                variant=lambda: f"{count}",
            ),
            grow("second", reads="middle", writes="end", books=books, process=seen("second")),
        ]

    def seen(job: str) -> Callable[[Row, Call], Awaitable[Sequence[Record]]]:
        async def process(row: Row, call: Call) -> Sequence[Record]:
            books.begin(f"{job} {row.id}")
            return await copy(row, call)

        return process

    for count, expected in [(1, 4), (3, 8), (3, 0), (4, 4), (2, 0)]:
        before = sum(books.processed.values())
        await mill(folder, jobs(count), books)
        assert sum(books.processed.values()) - before == expected
        assert len(list(datasets(folder, "end")["end"].rows())) == 2 * count
    whole = fresh(tmp_path / "whole", [4, 4])
    books.committed.clear()
    await mill(whole, jobs(2), books)
    assert data(whole) == data(folder)


async def test_what_a_job_keeps(tmp_path: Path) -> None:
    """A job that keeps leaves the rows of former inputs behind the others, never asks for them twice, and the job below
    sees that fewer are inputs now; whatever the order of the variants, the bytes are those of a run that took no detour."""
    folder, books = fresh(tmp_path / "run", [4, 4]), Books()

    async def process(row: Row, call: Call) -> Sequence[Record]:
        books.begin(row.id)
        return await copy(row, call)

    def jobs(count: int) -> list[Job]:
        def expand(rows: ShardRows) -> list[Item]:
            return list(each("source")(rows))[:count]

        first = grow(
            "first",
            reads="source",
            writes="middle",
            books=books,
            process=process,
            expand=expand,
            variant=lambda: f"{count}",
        )
        second = grow("second", reads="middle", writes="end", books=books, process=copy)
        return [dataclasses.replace(job, keeps=True) for job in (first, second)]

    for count, most in [(1, 1), (3, 3), (2, 3), (1, 3), (3, 3)]:
        await mill(folder, jobs(count), books)
        assert len(list(datasets(folder, "middle")["middle"].rows())) == 2 * most
        seals = list(datasets(folder, "middle")["middle"].seals())
        assert [(seal.inputs, seal.kept or 0) for seal in seals] == [(count, most - count)] * 2
    assert max(books.processed.values()) == 1
    whole = fresh(tmp_path / "whole", [4, 4])
    await mill(whole, jobs(3), Books())
    assert data(folder) == data(whole)


def data(folder: Path) -> dict[str, bytes]:
    return {name: rows for name, rows in contents(folder).items() if name.endswith(".jsonl")}


@pytest.mark.parametrize("stopped", [False, True], ids=["sealed", "open"])
async def test_retry_of_kinds(tmp_path: Path, stopped: bool) -> None:
    """Failures of a kind are done again on request, in sealed and in open shards, and the jobs below see the new rows."""
    folder, books = fresh(tmp_path / "run", [3, 1]), Books()
    ids = [make_id("source", 0, number) for number in range(3)]
    failures = {ids[0]: "flaky", ids[1]: "hopeless"}
    asked: Counter[str] = Counter()
    stop = Stop()

    async def process(row: Row, call: Call) -> Sequence[Record]:
        asked[row.id] += 1
        await call(request(row.id))
        if row.id in failures:
            raise Permanent("no", kind=failures[row.id])
        return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]

    def jobs() -> list[Job]:
        return [
            grow("first", reads="source", writes="middle", books=books, process=process, slots=1),
            grow("second", reads="middle", writes="end", books=books, process=copy),
        ]

    def stop_early(event: Event) -> None:
        if stopped and isinstance(event, InputFailed) and event.id == ids[1]:
            stop.request()

    work = mill(folder, jobs(), books, hook=stop_early, stop=stop)
    if stopped:
        assert isinstance(await ending(work), Stopped)
    else:
        await work
    assert datasets(folder, "end")["end"].sealed() == ([] if stopped else [0, 1])
    failures = {ids[1]: "hopeless"}
    opened: list[ShardOpened] = []

    def note(event: Event) -> None:
        if isinstance(event, ShardOpened) and event.job == "first" and event.shard == 0:
            opened.append(event)

    books.committed.clear()
    await mill(folder, jobs(), books, retry=lambda job, failure: (job, failure.kind) == ("first", "flaky"), hook=note)
    assert asked[ids[0]] == 2
    assert asked[ids[1]] == asked[ids[2]] == 1
    assert (opened[0].inputs, opened[0].failed) == (3, 1)
    middle = datasets(folder, "middle", "end")["middle"]
    seal = middle.shard(0).seal()
    assert seal is not None
    assert [failure.kind for failure in seal.failures] == ["hopeless"]
    assert seal.usage.requests == 4
    assert [row.parent for row in middle.read(0)] == [ids[0], ids[2]]
    assert len(datasets(folder, "end")["end"].read(0)) == 2


@pytest.mark.parametrize(("tried", "expected"), [("", [1, 1, 1]), ("dull", [1, 1, 1]), ("flawed", [1, 2, 1])])
async def test_flawed_rows_are_made_again(tmp_path: Path, tried: str, expected: list[int]) -> None:
    """Rows in which the job finds a flaw are made again when failures of its kind are tried again, and only then."""
    folder, books = fresh(tmp_path / "run", [3]), Books()
    ids = [make_id("source", 0, number) for number in range(3)]
    asked: Counter[str] = Counter()
    said: list[Failure] = []

    async def process(row: Row, call: Call) -> Sequence[Record]:
        asked[row.id] += 1
        text = "flawed" if row.id == ids[1] and asked[row.id] == 1 else "good"
        return [Row(id=make_id("copy", row.id), parent=row.id, text=text)]

    def retry(job: str, failure: Failure) -> bool:
        said.append(failure)
        return failure.kind == tried

    flaw = Flaw(kind="flawed", reason=lambda row: "it is flawed" if row.text == "flawed" else "")
    job = replace(grow("first", reads="source", writes="end", books=books, process=process), flaw=flaw)
    await mill(folder, [job], books)
    books.committed.clear()
    await mill(folder, [job], books, retry=retry)
    assert [asked[id_] for id_ in ids] == expected
    texts = [row.text for row in datasets(folder, "end")["end"].read(0)]
    assert texts == ["good", "good" if expected[1] == 2 else "flawed", "good"]
    if expected[1] == 2:
        assert Failure(kind="flawed", reason="it is flawed") in said


@virtually
async def test_a_job_below_waits_while_a_shard_is_opened_again(tmp_path: Path) -> None:
    """While a sealed shard is done again the job below does not work from its old seal, nor from its absence."""
    folder, books, gate = fresh(tmp_path / "run", [2, 2]), Books(), Gate()
    flaky = make_id("source", 0, 1)
    failing = True

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        if row.id == flaky and failing:
            raise Permanent("no", kind="flaky")
        return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]

    jobs = [
        grow("second", reads="middle", writes="end", books=books, process=copy),
        grow("first", reads="source", writes="middle", books=books, process=process),
    ]
    gate.open_all()
    await mill(folder, jobs, books, call=gate)
    failing, gate = False, Gate()
    sealed: list[tuple[str, int, bool]] = []

    def note(event: Event) -> None:
        if isinstance(event, ShardSealed):
            sealed.append((event.job, event.shard, event.found))

    async with running(mill(folder, jobs, books, call=gate, hook=note, retry=lambda job, failure: True)):
        await quiet()
        assert gate.asked == [flaky]
        assert ("second", 0, True) not in sealed
        gate.open_all()
    assert ("first", 0, False) in sealed
    assert ("second", 0, False) in sealed
    assert ("second", 1, True) in sealed
    assert len(datasets(folder, "end")["end"].read(0)) == 2


@virtually
async def test_a_job_below_looks_only_at_what_was_checked_above(tmp_path: Path) -> None:
    """A shard that will be opened again still has its old seal: the job below does not take that for the present one."""
    folder, books, gate = fresh(tmp_path / "run", [1, 2]), Books(), Gate()
    below_is_done, above_is_done, good = threading.Event(), False, False

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        if row.id == make_id("source", 0, 0) or (row.id == make_id("source", 1, 0) and not good):
            raise Permanent("no", kind="flaky")
        return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]

    def variant() -> str:  # asked before the seal of a shard is deleted
        assert not above_is_done or below_is_done.wait(60)
        return ""

    def note(event: Event) -> None:
        nonlocal above_is_done
        if isinstance(event, ShardSealed) and event.shard == 0:
            above_is_done |= event.job == "first" and not event.found
            if event.job == "second":
                below_is_done.set()

    jobs = [
        grow("first", reads="source", writes="middle", books=books, process=process, variant=variant),
        grow("second", reads="middle", writes="end", books=books, process=copy),
    ]
    await mill(folder, jobs, books, call=shuffled(0))
    good = True
    with mock.patch("engine.runner.OPEN_SHARDS", 1):
        async with running(mill(folder, jobs, books, call=gate, hook=note, retry=lambda job, failure: True)):
            await quiet()
            assert gate.asked == [make_id("source", 0, 0)], "the next shard waits for a place"
            gate.open_all()
    assert len(datasets(folder, "end")["end"].read(1)) == 2


async def test_changed_settings_are_refused(tmp_path: Path) -> None:
    """A changed fingerprint ends the run before anything is asked, with what changed."""
    folder, books = fresh(tmp_path / "run"), Books()
    await mill(folder, chain(books, fingerprint={"model": "one"}), books)
    before = contents(folder)
    with pytest.raises(BadInput, match=r"first was made with other settings: model was 'one', is 'two'.*--redo first"):
        await mill(folder, chain(books, fingerprint={"model": "two"})[:1], books)
    assert contents(folder) == before


async def test_a_raised_bound_is_gone_on_with(tmp_path: Path) -> None:
    """A number that the job says may grow is no other setting, and what is there stays; a smaller one is refused."""
    folder, books = fresh(tmp_path / "run"), Books()

    def made(most: int) -> list[Job]:
        first, second = chain(books)
        return [replace(first, fingerprint={"most": most}, raisable=frozenset(["most"])), second]

    await mill(folder, made(1), books)
    await mill(folder, made(2), books)
    with pytest.raises(BadInput, match=r"most was 2, is 1"):
        await mill(folder, made(1), books)
    assert books.paid_twice == 0


async def test_limits_are_no_settings(tmp_path: Path) -> None:
    """How many slots a job has changes no byte."""
    one, other = fresh(tmp_path / "one"), fresh(tmp_path / "other")
    await mill(one, chain(Books(), slots=1), Books(), call=shuffled(1))
    await mill(other, chain(Books(), slots=64), Books(), call=shuffled(2, longest=30))
    assert contents(one) == contents(other)


# Damage.


async def test_damage_above_is_one_line(tmp_path: Path) -> None:
    """A damaged shard in what is read, or in what is written, ends the run with one line; the other shards are kept."""
    for name, damage, words in [
        ("source/00002.jsonl", None, "is missing, its seal says"),
        ("middle/00002.jsonl", None, "is missing, its seal says"),
        ("middle/00002.jsonl", b"{}\n", "has 3 bytes, its seal says"),
        ("source/00002.done.json", b"{", "damaged"),
        ("middle/00002.done.json", b"\xff", "damaged"),
        ("middle/00002.done.json", None, "neither a seal nor a checkpoint"),
        ("middle/job.json", b"", "damaged"),
    ]:
        folder, books = fresh(tmp_path / f"{name} {damage!r}".replace("/", " ")), Books()
        if name.startswith("middle"):
            await mill(folder, chain(books)[:1], books)
        path = folder / name
        path.unlink() if damage is None else path.write_bytes(damage)
        before = contents(folder)
        with pytest.raises(Fatal, match=words) as error:
            await mill(folder, chain(books)[:1], books)
        assert "\n" not in str(error.value)
        assert "--redo" in str(error.value)
        after = contents(folder)
        assert {kept: after.get(kept) for kept in before} == before


async def test_a_half_sealed_shard_above_is_carried_out(tmp_path: Path) -> None:
    """A shard that was decided when the process died is there for a run in which its job takes no part."""
    folder = fresh(tmp_path / "run", [2])
    second = grow("second", reads="middle", writes="end", books=Books(), process=copy)
    first = grow("first", reads="source", writes="middle", books=Books(), process=copy)
    disk = Disk(folder, kill_at(10_000))
    await asyncio.to_thread(live, disk, lambda: mill(folder, [first], Books()))
    steps = len(disk.operations)
    assert disk.operations[-1] == "unlink"
    half_sealed = 0
    for before_the_end in range(1, 12):
        place = fresh(tmp_path / f"{before_the_end}", [2])
        disk = Disk(place, kill_at(steps - before_the_end))
        assert await asyncio.to_thread(live, disk, lambda place=place: mill(place, [first], Books()))
        shard = datasets(place, "middle")["middle"].shard(0)
        marked = shard.checkpoint.read_bytes().splitlines()[-1].startswith(b'{"seal":')
        half_sealed += marked and not shard.done.exists()
        await mill(place, [second], Books())
        assert len(list(datasets(place, "end")["end"].rows())) == (2 if marked else 0)
    assert half_sealed > 5
    assert not marked, "killed before it was decided"


# Killed.


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process killed", "power cut"])
def test_killed_at_every_operation(tmp_path: Path, power_cut: bool, step: int) -> None:
    """Two jobs with reviews, killed at operations on the disk, each of them in a soak: the same bytes, and no more
    paid than due."""
    sizes = [2, 0, 4]
    expected = undisturbed(tmp_path / "whole", sizes)
    number, killed, allowed, twice = 0, True, 0, 0
    while killed:
        folder, books = fresh(tmp_path / str(number), sizes), Books()
        disk = Disk(folder, kill_at(number))
        killed = live(disk, lambda folder=folder, books=books: mill(folder, chain(books), books))
        books.kill()
        if power_cut:
            disk.crash(Random(number))
        live(Disk(folder), lambda folder=folder, books=books: mill(folder, chain(books), books))
        assert contents(folder) == expected
        books.check()
        allowed, twice = allowed + books.in_flight_at_kills, twice + books.paid_twice
        number += step
    assert number > 80
    assert 0 < twice <= allowed


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 12), max_size=5),
    st.lists(st.integers(0, 150), max_size=6),
    st.sampled_from([1, 2, 5, 64]),
    st.integers(0, 1 << 32),
)
def test_any_shards_any_kills(sizes: list[int], kills: list[int], slots: int, seed: int) -> None:
    """For any shards, any order of answers, any slots and any sequence of power cuts, the bytes are the same."""
    with TemporaryDirectory() as name:
        expected = undisturbed(Path(name) / "whole", sizes)
        folder, books, random = fresh(Path(name) / "killed", sizes), Books(), Random(seed)

        async def body() -> None:
            call = shuffled(random.randint(0, 1 << 32), longest=15)
            await mill(folder, chain(books, slots=slots), books, call=call)

        for number in kills:
            disk = Disk(folder, kill_at(number))
            if not live(disk, body):
                break
            books.kill()
            disk.crash(random)
        live(Disk(folder), body)
        assert contents(folder) == expected
        books.check()


@pytest.mark.slow
def test_disk_full_at_every_operation(tmp_path: Path) -> None:
    """A disk that is full from any operation on ends the run in one line, and loses nothing that was committed."""
    sizes = [3, 0, 5]
    expected = undisturbed(tmp_path / "whole", sizes)
    disk = Disk(fresh(tmp_path / "counted", sizes))
    live(disk, lambda: mill(tmp_path / "counted", chain(Books()), Books()))
    writes = [place for place, operation in enumerate(disk.operations) if operation in {"create", "write", "mkdir"}]
    assert len(writes) > 30
    for number in writes[:-2:2]:
        folder, books = fresh(tmp_path / str(number), sizes), Books()
        with pytest.raises(Fatal, match=r"the disk is full; free some space and run the same command again[^\n]*$"):
            live(Disk(folder, full_from(number)), lambda folder=folder, books=books: mill(folder, chain(books), books))
        books.kill()
        live(Disk(folder), lambda folder=folder, books=books: mill(folder, chain(books), books))
        assert contents(folder) == expected
        books.check()


@pytest.mark.parametrize("error", [Stopped("stopping"), Fatal("quota gone"), Permanent("no repair", kind="malformed")])
@virtually
async def test_what_an_undone_input_cost_is_kept(tmp_path: Path, error: GristmillError) -> None:
    """A record that paid for an answer and then fails, or is stopped before its repair, leaves its cost in the seal."""
    folder, books = fresh(tmp_path / "run", [3]), Books()
    unlucky = make_id("source", 0, 1)
    stopped = not isinstance(error, Permanent)

    async def process(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        if row.id == unlucky:
            raise error
        return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]

    def job(process: Callable[[Row, Call], Awaitable[Sequence[Record]]]) -> Job:
        return grow("first", reads="source", writes="middle", books=books, process=process, slots=1)

    with suppress(Fatal):
        await mill(folder, [job(process)], Books())
    done = finished(datasets(folder, "middle")["middle"], 0, lambda row: row.parent)
    assert set(done) <= {make_id("source", 0, number) for number in range(3)}, "the cost alone is no input"
    await mill(folder, [job(copy)], Books())
    seal = datasets(folder, "middle")["middle"].shard(0).seal()
    assert seal is not None
    assert (seal.inputs, seal.rows, len(seal.failures)) == (3, 3 if stopped else 2, 0 if stopped else 1)
    assert seal.usage.requests == (4 if stopped else 3)


def test_usage_is_counted_once(tmp_path: Path) -> None:
    """What the seals say was paid is what was paid for rows that are there, however often the run was killed."""
    folder, books = fresh(tmp_path / "run"), Books()
    for number in (30, 25, 40):
        disk = Disk(folder, kill_at(number))
        live(disk, lambda: mill(folder, chain(books), books))
        books.kill()
        disk.crash(Random(number))
    live(Disk(folder), lambda: mill(folder, chain(books), books))
    paid = total(seal.usage for dataset in datasets(folder, "middle", "end").values() for seal in dataset.seals())
    assert paid.requests == len(books.processed)
    assert paid == total(usage_of(key.split()[1]) for key in books.processed)


def usage_of(id_: str) -> Usage:
    return answer(request(id_)).usage
