"""A shard that was handed out to this process: what it works on, and what it leaves to the process that gave it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_disk import Row, answer, datasets, deal, each

from engine.datasets import Dataset
from engine.errors import TakenOver
from engine.events import Event, InputDone, ShardOpened
from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request, Usage
from engine.shard_run import Handed, JobContext, ShardRun
from engine.shards import Entry, Failure, Seal, Shard
from engine.signals import Stop, Stopped
from engine.writers import ShardWriter

IDS = [make_id("source", 0, number) for number in range(3)]


async def copy(row: Row, call: Call) -> Sequence[Record]:
    await asyncio.sleep(0)
    return [Row(id=make_id("copy", row.id), parent=row.id, text=row.text)]


def a_context(folder: Path, told: list[Event], **settings: Any) -> JobContext:
    job = Job(name="first", reads=("source",), writes="end", row=Row, expand=each("source"), process=copy)
    job = replace(job, **settings)
    found: Mapping[str, Dataset[Row]] = datasets(folder, *job.reads, job.writes)
    return JobContext(
        job=job,
        rank=0,
        inputs=[found[name] for name in job.reads],
        output=found[job.writes],
        call=_answered,
        stop=Stop(),
        emit=told.append,
        retry=lambda job, failure: True,
        slots=asyncio.Semaphore(2),
    )


async def _answered(request: Request) -> Reply:
    return answer(request)


def handed_out(context: JobContext) -> Shard:
    shard = context.output.shard(0)
    shard.data.parent.mkdir()
    shard.hand_out("mine")
    return shard


async def worked_off(context: JobContext, handed: Handed, dropped: Mapping[str, Failure] | None = None) -> Seal:
    """Take the shard over, and decide it."""
    run = await ShardRun.take_over(context, handed)
    try:
        async with asyncio.TaskGroup() as tasks:
            with context.stop.on_error():
                await run.feed(tasks)
        await run.work_off()
        return await run.decide(dropped or {})
    finally:
        await run.close()


async def test_it_is_decided_here_and_sealed_by_who_gave_it(tmp_path: Path) -> None:
    """Its seal has the source that was said and the inputs that were dropped; the files get their names elsewhere."""
    deal(tmp_path, [3])
    told: list[Event] = []
    context = a_context(tmp_path, told)
    shard = handed_out(context)
    failure = Failure(kind="dull", reason="it is")
    seal = await worked_off(context, Handed(index=0, fence="mine", source="above"), {IDS[2]: failure})
    assert (seal.source, seal.inputs, seal.rows) == ("above", 3, 2)
    assert [(failed.id, failed.kind) for failed in seal.failures] == [(IDS[2], "dull")]
    assert told[0] == ShardOpened(job="first", shard=0, inputs=3, done=0, failed=0, usage=Usage())
    assert {event.id for event in told if isinstance(event, InputDone)} == set(IDS)
    assert shard.seal() is None
    assert shard.settle() == seal
    assert [row.parent for row in context.output.read(0)] == IDS[:2]


async def test_only_the_failures_that_were_named_are_tried_again(tmp_path: Path) -> None:
    """Which these are is known to who gave the shard, not here."""
    deal(tmp_path, [3])
    told: list[Event] = []
    context = a_context(tmp_path, told)
    shard = context.output.shard(0)
    shard.data.parent.mkdir()
    async with ShardWriter(shard) as writer:
        for position in range(2):
            failure = Failure(kind="flaky", reason="no")
            await writer.append(Entry(id=IDS[position], position=position, end=0, error=failure))
    shard.hand_out("mine")
    seal = await worked_off(context, Handed(index=0, fence="mine", source="", again=[IDS[0]]))
    assert told[0] == ShardOpened(job="first", shard=0, inputs=3, done=1, failed=1, usage=Usage())
    assert {event.id for event in told if isinstance(event, InputDone)} == {IDS[0], IDS[2]}
    assert [failed.id for failed in seal.failures] == [IDS[1]]


async def test_rows_that_came_with_it_are_not_read(tmp_path: Path) -> None:
    """A dataset whose rows are passed beside the shard may hold others here."""
    deal(tmp_path, [3])
    deal(tmp_path, [3], "notes")
    note = Row(id="note", parent="", text="")

    def expand(rows: ShardRows) -> list[Item]:
        return [Item(id=row.id, value=row) for row in [*rows["source"], *rows["notes"]]]

    context = a_context(tmp_path, [], reads=("source", "notes"), expand=expand)
    shard = handed_out(context)
    await worked_off(context, Handed(index=0, fence="mine", source="", beside={"notes": [note]}))
    shard.settle()
    assert [row.parent for row in context.output.read(0)] == [*IDS, "note"]


async def test_former_inputs_stay_behind_the_others(tmp_path: Path) -> None:
    """Where the job keeps, rows of inputs that are none any more are counted apart in what is decided."""
    deal(tmp_path, [3])
    context = a_context(tmp_path, [], keeps=True)
    shard = handed_out(context)
    await worked_off(context, Handed(index=0, fence="mine", source=""))
    shard.settle()
    context = a_context(tmp_path, [], keeps=True, expand=lambda rows: list(each("source")(rows))[1:])
    shard.reopen(Row, lambda row: row.parent)
    shard.hand_out("again")
    seal = await worked_off(context, Handed(index=0, fence="again", source=""))
    assert (seal.inputs, seal.rows, seal.kept) == (2, 3, 1)
    shard.settle()
    assert [row.parent for row in context.output.read(0)] == [*IDS[1:], IDS[0]]


async def test_what_another_has_by_now_is_not_taken(tmp_path: Path) -> None:
    """A shard that was handed out again belongs to the last one that was given it."""
    deal(tmp_path, [1])
    context = a_context(tmp_path, [])
    shard = context.output.shard(0)
    shard.data.parent.mkdir()
    for fence in ("mine", "theirs"):
        shard.hand_out(fence)
    with pytest.raises(TakenOver):
        await ShardRun.take_over(context, Handed(index=0, fence="mine", source=""))


async def test_a_shard_that_is_stopped_is_not_decided(tmp_path: Path) -> None:
    """What was committed stays for who works on it next."""
    deal(tmp_path, [3])
    context = a_context(tmp_path, [])

    async def process(row: Row, call: Call) -> Sequence[Record]:
        if row.id == IDS[1]:
            context.stop.request()
            raise Stopped("the run is stopping")
        return await copy(row, call)

    context = replace(context, job=replace(context.job, process=process), slots=asyncio.Semaphore(1))
    shard = handed_out(context)
    with pytest.raises(Stopped):
        await worked_off(context, Handed(index=0, fence="mine", source=""))
    assert [entry.id for entry in shard.entries() if entry.id] == IDS[:1]
    assert shard.settle() is None
