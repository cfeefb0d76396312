"""One shard of a job, from its opening to its seal: open, feed, finish, seal.

A shard that another process has handed out ends here with the mark: take over, feed, work off, decide.

`run_item` follows one record: `feed` takes its slot, the job makes its rows, they are committed, and the slot is
released. A record ends in one of three ways: committed, stopped, or deferred until its answer has arrived. A shard
with deferred records is closed, and opened again later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from engine.calls import Tally, metered
from engine.datasets import Dataset
from engine.deferrals import Deferrals, Deferred, NothingDeferred
from engine.elsewhere import Elsewhere
from engine.errors import GristmillError, Permanent
from engine.events import Event, InputDone, InputDropped, InputFailed, ShardOpened
from engine.failed_replies import REPLY_CHARACTERS
from engine.job import Item, Job, ShardRows
from engine.pending import source_of
from engine.records import encode
from engine.requests import Call
from engine.shards import Entry, Failure, Seal
from engine.signals import Stop, Stopped, uninterrupted
from engine.writers import ShardWriter

__all__ = ["Handed", "JobContext", "Retry", "ShardRun", "reviewed"]

Retry = Callable[[str, Failure], bool]
"""Whether a failure of the job of that name is retried."""


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What all shards of one running job share. ``slots`` bounds the records that are in flight.

    ``rank`` is the job's place in the pipeline. When jobs wait at one endpoint, the later one goes first: work in
    progress is finished before new work is begun, while a provider's cache still holds the shared beginning of its prompts.
    """

    job: Job
    rank: int
    inputs: Sequence[Dataset[Any]]
    output: Dataset[Any]
    call: Call
    stop: Stop
    emit: Callable[[Event], None]
    retry: Retry
    slots: asyncio.Semaphore
    deferrals: Deferrals = field(default_factory=NothingDeferred)
    elsewhere: Elsewhere | None = None

    @property
    def crowd(self) -> int:
        """How many finished records of one shard are committed at once, because they hold the slots that others need."""
        return max(1, self.job.slots // 4)

    def group(self, index: int) -> str:
        """The name under which the requests of shard `index` are kept."""
        return f"{self.job.name}/{index}"

    def retries(self, failure: Failure) -> bool:
        return self.retry(self.job.name, failure)

    def flaw(self, row: Any) -> Failure | None:
        """The flaw of a sealed row, if the job finds one."""
        flaw = self.job.flaw
        reason = flaw.reason(row) if flaw is not None else ""
        return Failure(kind=flaw.kind, reason=reason) if flaw is not None and reason else None

    def holds_flaws(self, index: int) -> bool:
        """Whether sealed shard `index` holds rows that have to be made again. Blocks."""
        flaw = self.job.flaw
        if flaw is None or not self.retries(Failure(kind=flaw.kind, reason="")):
            return False
        return any(flaw.reason(row) for row in self.output.read(index))

    def source(self, index: int) -> str:
        """The source of shard `index`: the checksums of the shards that it reads, and the job's variant. Blocks."""
        return source_of(self.job, self.inputs, index)

    def items(self, index: int, beside: Mapping[str, Sequence[Any]] = MappingProxyType({})) -> dict[str, Item]:
        """The inputs of shard `index` by id, in order. `beside` are rows that are known already, by dataset. Blocks."""
        rows = {dataset.name: dataset.read(index) for dataset in self.inputs if dataset.name not in beside}
        return {item.id: item for item in self.job.expand(ShardRows(index, {**rows, **beside}))}

    async def take(self, semaphore: asyncio.Semaphore) -> None:
        """Take a place of `semaphore`, or raise `Stopped` once the run is stopping."""
        await semaphore.acquire()
        if self.stop.requested:
            semaphore.release()
            self.stop.check()


@dataclass(frozen=True, kw_only=True)
class Handed:
    """A shard that was handed out to this process, with what only the one who did so knows.

    ``again`` are the ids of failures in its journal that are tried again, ``beside`` the rows of datasets that are not read
    here. ``source`` is that of the seal.
    """

    index: int
    fence: str
    source: str
    again: Collection[str] = ()
    beside: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class ShardRun:
    """An open shard: its writer, the order of its inputs, and how many of them are in flight.

    ``begun`` is how many entries its journal had when this run of the pipeline opened it first: failures after that are
    new, and not tried again. ``deferred`` counts the inputs that wait for a batch.
    """

    def __init__(
        self,
        context: JobContext,
        index: int,
        writer: ShardWriter,
        items: Mapping[str, Item],
        source: str,
        retried: Callable[[Entry], bool],
    ) -> None:
        self.index = index
        self.begun = writer.commits
        self.deferred = 0
        self._context = context
        self._writer = writer
        self._source = source
        self._kept = _kept(writer, items) if context.job.keeps else []
        self._order = {id_: position for position, id_ in enumerate([*items, *self._kept])}
        found = [writer.finished[id_] for id_ in items if id_ in writer.finished]
        self._finished = [entry for entry in found if entry.error is None or not retried(entry)]
        finished = {entry.id for entry in self._finished}
        self._todo = [item for item in items.values() if item.id not in finished]
        self._failures = writer.failures() if context.deferrals.active else Counter[str]()
        self._whole = True
        self._pending = 1  # one for the feeder, one for each input in flight
        self._idle = asyncio.Event()

    @classmethod
    async def open(cls, context: JobContext, index: int, begun: int | None = None) -> Self:
        """Open an unfinished shard, or reopen a sealed one; `begun` is set if this process had it open before."""
        job, shard = context.job, context.output.shard(index)
        if context.deferrals.active and await asyncio.to_thread(shard.seal) is not None:
            context.deferrals.release(context.group(index))
        source = await asyncio.to_thread(context.source, index)
        await uninterrupted(asyncio.to_thread(shard.reopen, job.row, job.origin, context.retries, context.flaw))
        items = await asyncio.to_thread(context.items, index)
        writer = await ShardWriter(shard, crowd=context.crowd).__aenter__()
        recent = writer.since(writer.commits if begun is None else begun)
        run = cls(
            context,
            index,
            writer,
            items,
            source,
            lambda entry: entry.id not in recent and entry.error is not None and context.retries(entry.error),
        )
        await context.deferrals.open(context.group(index), writer.finished.keys())
        if begun is None:
            run._tell_opened(len(items))
        else:
            run.begun = begun
        return run

    @classmethod
    async def take_over(cls, context: JobContext, handed: Handed) -> Self:
        """Open a shard that was handed out to this process. Raises `TakenOver` if it was to another one since then."""
        items = await asyncio.to_thread(context.items, handed.index, handed.beside)
        shard = context.output.shard(handed.index)
        writer = await ShardWriter(shard, crowd=context.crowd, fence=handed.fence).__aenter__()
        run = cls(context, handed.index, writer, items, handed.source, lambda entry: entry.id in handed.again)
        run._tell_opened(len(items))
        return run

    async def feed(self, tasks: asyncio.TaskGroup) -> None:
        """Create a task for each unfinished input, as slots become free."""
        fed = False
        try:
            todo, self._todo = list(self._context.job.feeds(self._todo)), []
            todo.reverse()
            while todo:
                await self._context.take(self._context.slots)
                self._pending += 1
                tasks.create_task(self.run_item(todo.pop()))
            fed = True
        finally:
            self._end(done=fed)

    async def run_item(self, item: Item) -> None:
        """One input, from its slot to its commit.

        A stopped one stays undone until the next run; a deferred one until the shard is opened again.
        """
        done = False
        try:
            with self._context.stop.on_error():
                try:
                    await self._process(item)
                except Deferred:
                    self.deferred += 1
                done = True
        finally:
            self._context.slots.release()
            self._end(done=done)

    async def finish(self, previous_sealed: asyncio.Future[bool]) -> Seal | None:
        """Seal the shard when its last input is committed; None if it has to be opened again later.

        That is the case when inputs are deferred. A job that reviews its shards does so in their order, after
        `previous_sealed`. If that may have to wait for a batch, this shard does not stay open meanwhile. Raises `Stopped`
        if the run stops before the seal.
        """
        await self.work_off()
        if self.deferred:
            return None
        dropped: dict[str, Failure] = {}
        if self._context.job.review is not None:
            if self._context.deferrals.active and not previous_sealed.done():
                return None
            if not await asyncio.shield(previous_sealed):  # others wait for it too, and who seals it sets it
                raise Stopped("the run is stopping")
            dropped = await reviewed(self._context, await self.claims())
        return await self._writer.seal(self._order, source=self._source, dropped=dropped, kept=len(self._kept))

    async def work_off(self) -> None:
        """Wait until every input is committed or deferred. Raises `Stopped` if the run stops before."""
        await self._idle.wait()
        if not self._whole:
            raise Stopped("the run is stopping")

    async def claims(self) -> Any:
        """What the job's review is shown of the finished shard."""
        job = self._context.job

        def find() -> Any:
            rows = self._writer.rows(job.row, self._order)
            return rows if job.claims is None else job.claims(rows)

        return await asyncio.to_thread(find)

    async def decide(self, dropped: Mapping[str, Failure]) -> Seal:
        """Write down the seal of a shard that was handed out; the process that handed it out seals the shard."""
        return await self._writer.decide(self._order, source=self._source, dropped=dropped, kept=len(self._kept))

    async def close(self) -> None:
        """Close the files. A shard that is not sealed is continued later, or by the next run."""
        await self._writer.__aexit__()
        # Where the feeding was stopped, not all that is undone is on its way, and the next run looks for the rest.
        await self._context.deferrals.close(self._context.group(self.index), self.deferred if self._whole else 0)

    async def _process(self, item: Item) -> None:
        name, tally, rows, failure, reply = self._context.job.name, Tally(), [], None, ""
        try:
            rows = [encode(row) for row in await self._context.job.process(item.value, self._call(item, tally))]
        except Permanent as error:
            failure, reply = _failure(error), _text(error.reply)[:REPLY_CHARACTERS]
        except GristmillError:
            if tally.lost.requests:  # the input stays undone, but what was paid for it was paid
                await self._writer.append(Entry(id="", position=-1, end=0, usage=tally.lost))
            raise
        position = self._order[item.id]
        entry = Entry(id=item.id, position=position, end=0, usage=tally.usage, error=failure, reply=reply)
        await self._writer.append(entry, rows)
        self._context.emit(
            InputDone(job=name, id=item.id, rows=len(rows), usage=tally.usage)
            if failure is None
            else InputFailed(job=name, id=item.id, kind=failure.kind, reason=failure.reason, usage=tally.usage)
        )

    def _call(self, item: Item, tally: Tally) -> Call:
        """The call of one input. One that has failed before asks again under another name."""
        context, again = self._context, self._failures.get(item.id)
        who = f"{item.id} {again}" if again else item.id
        return metered(context.call, tally, context.job.name, context.group(self.index), context.rank, who)

    def _tell_opened(self, inputs: int) -> None:
        self._context.emit(
            ShardOpened(
                job=self._context.job.name,
                shard=self.index,
                inputs=inputs,
                done=len(self._finished),
                failed=sum(entry.error is not None for entry in self._finished),
                usage=self._writer.usage,
            )
        )

    def _end(self, *, done: bool) -> None:
        """Called when the feeder, or one input, has ended."""
        self._whole &= done
        self._pending -= 1
        if self._pending == 0:
            self._idle.set()


async def reviewed(context: JobContext, claims: Any) -> dict[str, Failure]:
    """The inputs that the job's review drops, by id, for what `claims` says of a finished shard."""
    job = context.job
    if job.review is None:
        return {}
    dropped = {id_: _failure(error) for id_, error in (await job.review(claims)).items()}
    for id_, failure in dropped.items():
        context.emit(InputDropped(job=job.name, id=id_, kind=failure.kind, reason=failure.reason))
    return dropped


def _kept(writer: ShardWriter, items: Mapping[str, Item]) -> list[str]:
    """The former inputs that still have rows, in the order of their ids."""
    return sorted(entry.id for entry in writer.finished.values() if entry.rows and entry.id not in items)


def _failure(error: Permanent) -> Failure:
    return Failure(kind=error.kind, reason=_text(str(error)))


def _text(said: str) -> str:
    """`said` as a checkpoint line can hold it: it may quote a file name that is not valid UTF-8."""
    return said.encode("utf-8", "replace").decode("utf-8")
