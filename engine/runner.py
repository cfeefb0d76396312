"""The runner: feed, process, commit, seal. Jobs run side by side, each following the dataset above it shard by shard.

A slot is taken before a task is made, and given back when its outcome is on disk: that one semaphore is the
backpressure and the bound on memory. A second one bounds the shards that are open.

Every way to end is the same: take no more, let what is in flight end and commit, leave the shards that are not whole
to the next run. A signal, a fatal error and the end of the input differ only in what is raised after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from engine.calls import Tally, metered
from engine.datasets import Dataset
from engine.errors import GristmillError, Permanent
from engine.events import (
    Event,
    Hook,
    InputDone,
    InputDropped,
    InputFailed,
    JobFinished,
    JobStarted,
    ShardOpened,
    ShardSealed,
)
from engine.job import Item, Job, Pipeline, ShardRows, Step
from engine.records import encode, make_id
from engine.requests import Call
from engine.shards import Entry, Failure, Seal
from engine.signals import Stop, Stopped, uninterrupted
from engine.writers import ShardWriter

__all__ = ["OPEN_SHARDS", "Retry", "run"]

OPEN_SHARDS = 8
"""Shards of one job that may be open at a time: enough to keep slots busy over the ends of shards."""

Retry = Callable[[str, Failure], bool]
"""Whether a failure of the job of that name is to be tried again."""


async def run(
    pipeline: Pipeline,
    datasets: Mapping[str, Dataset[Any]],
    call: Call,
    *,
    stop: Stop,
    hook: Hook,
    retry: Retry = lambda job, failure: False,
) -> None:
    """Run every job and step to its end, or to the stop.

    Raises the `Fatal` that ended the run, or `Stopped` when a signal did; all that was answered is committed then.
    """
    ended = {step.name: asyncio.Event() for step in pipeline}
    for dataset in datasets.values():
        stop.when_requested(dataset.stop)
    for event in ended.values():
        stop.when_requested(event.set)

    async def guarded(step: Job | Step) -> None:
        try:
            for name in step.waits_for:
                if name in ended:
                    await ended[name].wait()
            stop.check()
            hook(JobStarted(job=step.name))
            if isinstance(step, Job):
                await _JobRun(step, datasets, call, stop, hook, retry).run()
            else:
                await step.run()
            stop.check()
            if step.writes is not None:
                datasets[step.writes].close()
            ended[step.name].set()
            hook(JobFinished(job=step.name))
        except Stopped:
            pass  # whoever asked for it is reported below
        except GristmillError as error:
            stop.request(error)

    for step in pipeline:
        if isinstance(step, Job):
            datasets[step.writes].begin()
    made = {step.writes for step in pipeline if step.writes is not None}
    for name in datasets.keys() - made:
        await uninterrupted(asyncio.to_thread(datasets[name].settle))
        datasets[name].close()
    async with asyncio.TaskGroup() as tasks:
        for step in pipeline:
            tasks.create_task(guarded(step), name=step.name)
    if stop.error is not None:
        raise stop.error
    stop.check()


class _OpenShard:
    """A shard being worked on: its writer, the order of its inputs, and how many of them are in flight."""

    def __init__(
        self,
        index: int,
        writer: ShardWriter,
        items: Mapping[str, Item],
        source: str,
        again: Callable[[Failure], bool],
    ) -> None:
        self.index = index
        self.writer = writer
        self.order = {id_: position for position, id_ in enumerate(items)}
        found = [writer.finished[id_] for id_ in items if id_ in writer.finished]
        self.finished = [entry for entry in found if entry.error is None or not again(entry.error)]
        finished = {entry.id for entry in self.finished}
        self.todo = [item for item in items.values() if item.id not in finished]
        self.source = source
        self.whole = True
        self._open = 1  # one for the feeder, one for each input in flight
        self._idle = asyncio.Event()

    def begin(self) -> None:
        self._open += 1

    def end(self, *, done: bool) -> None:
        self.whole &= done
        self._open -= 1
        if self._open == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        await self._idle.wait()


class _JobRun:
    """One job, from its first shard to its last."""

    def __init__(
        self, job: Job, datasets: Mapping[str, Dataset[Any]], call: Call, stop: Stop, hook: Hook, retry: Retry
    ) -> None:
        self._job = job
        self._inputs = [datasets[name] for name in job.reads]
        self._output = datasets[job.writes]
        self._call = call
        self._stop = stop
        self._emit: Callable[[Event], None] = hook
        self._retry = retry
        self._slots = asyncio.Semaphore(job.slots)
        self._open_shards = asyncio.Semaphore(OPEN_SHARDS)
        self._writers: set[ShardWriter] = set()

    async def run(self) -> None:
        if self._job.prepare is not None:
            await self._job.prepare()
        await uninterrupted(asyncio.to_thread(self._output.claim, self._job.name, self._job.fingerprint))
        before: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        before.set_result(True)
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    async for index in self._to_do():
                        await self._take(self._open_shards)
                        shard = await self._open(index)
                        sealed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
                        tasks.create_task(self._finish(shard, before, sealed))
                        await self._feed(shard, tasks)
                        before = sealed
                except Stopped:
                    pass  # the tasks of this group end what is in flight
                except GristmillError as error:
                    self._stop.request(error)
        finally:
            for writer in self._writers:  # of tasks that were cancelled before they began
                await writer.__aexit__()
        self._stop.check()
        if self._job.conclude is not None:
            await self._job.conclude()

    async def _to_do(self) -> AsyncIterator[int]:
        """The shards that are not sealed, or not as they would be now, as soon as what they are made from is sealed."""
        index = 0
        while await self._inputs[0].wait_sealed(index):
            for other in self._inputs[1:]:
                await other.wait_sealed(index)
            shards = range(index, index + max(1, min(dataset.known(index) for dataset in self._inputs)))
            found = await uninterrupted(asyncio.to_thread(self._unchanged, shards))
            for seal in found:
                self._tell_sealed(index, seal, found=True)
                self._output.notify(index)
                index += 1
            self._stop.check()
            if not found:
                yield index
                index += 1

    def _unchanged(self, shards: Iterable[int]) -> list[Seal]:
        """The seals of the first of `shards` about which nothing has changed, up to one of which something has; blocks."""
        found = []
        for index in shards:
            seal = self._output.shard(index).settle()
            if seal is None or seal.source != self._stamp(index) or any(map(self._retries, seal.failures)):
                break
            found.append(seal)
        return found

    async def _take(self, semaphore: asyncio.Semaphore) -> None:
        await semaphore.acquire()
        if self._stop.requested:
            semaphore.release()
            self._stop.check()

    async def _open(self, index: int) -> _OpenShard:
        """Take up a shard that is open, or that is to be opened again."""
        shard = self._output.shard(index)
        source = await asyncio.to_thread(self._stamp, index)
        await uninterrupted(asyncio.to_thread(shard.reopen, self._job.row, self._job.origin, self._retries))
        items = await asyncio.to_thread(self._expand, index)
        writer = await ShardWriter(shard, crowd=max(1, self._job.slots // 4)).__aenter__()
        self._writers.add(writer)
        opened = _OpenShard(index, writer, items, source, self._retries)
        self._emit(
            ShardOpened(
                job=self._job.name,
                shard=index,
                inputs=len(items),
                done=len(opened.finished),
                failed=sum(entry.error is not None for entry in opened.finished),
                usage=writer.usage,
            )
        )
        return opened

    def _retries(self, failure: Failure) -> bool:
        return self._retry(self._job.name, failure)

    def _stamp(self, index: int) -> str:
        """What shard `index` is made from: the checksums of what it reads, and the job's variant."""
        seals = [dataset.shard(index).whole() for dataset in self._inputs]
        return make_id(*(seal.sha256 if seal else "" for seal in seals), self._job.variant())

    def _expand(self, index: int) -> dict[str, Item]:
        rows = ShardRows(index, {dataset.name: dataset.read(index) for dataset in self._inputs})
        return {item.id: item for item in self._job.expand(rows)}

    async def _feed(self, shard: _OpenShard, tasks: asyncio.TaskGroup) -> None:
        whole = False
        try:
            todo, shard.todo = shard.todo, []
            todo.reverse()
            while todo:
                await self._take(self._slots)
                shard.begin()
                tasks.create_task(self._one(shard, todo.pop()))
            whole = True
        finally:
            shard.end(done=whole)

    async def _one(self, shard: _OpenShard, item: Item) -> None:
        """One input, from its slot to its commit."""
        done = False
        try:
            await self._process(shard, item)
            done = True
        except Stopped:
            pass  # it stays undone, and the next run takes it up
        except GristmillError as error:
            self._stop.request(error)
        finally:
            self._slots.release()
            shard.end(done=done)

    async def _process(self, shard: _OpenShard, item: Item) -> None:
        name, tally, rows, failure = self._job.name, Tally(), [], None
        try:
            call = metered(self._call, tally, name, group=f"{name}/{shard.index}")
            rows = [encode(row) for row in await self._job.process(item.value, call)]
        except Permanent as error:
            failure = _failure(error)
        except GristmillError:
            if tally.usage.requests:  # the input stays undone, but what was paid for it was paid
                await shard.writer.append(Entry(id="", position=-1, end=0, usage=tally.usage))
            raise
        entry = Entry(id=item.id, position=shard.order[item.id], end=0, usage=tally.usage, error=failure)
        await shard.writer.append(entry, rows)
        self._emit(
            InputDone(job=name, id=item.id, rows=len(rows), usage=tally.usage)
            if failure is None
            else InputFailed(job=name, id=item.id, kind=failure.kind, reason=failure.reason, usage=tally.usage)
        )

    async def _finish(self, shard: _OpenShard, before: asyncio.Future[bool], sealed: asyncio.Future[bool]) -> None:
        """Seal the shard when its last input is committed; leave it open when the run stops before that."""
        done = False
        try:
            await shard.wait_idle()
            if shard.whole and (self._job.review is None or await before):
                seal = await self._seal(shard)
                done = True
                self._tell_sealed(shard.index, seal, found=False)
                self._output.notify(shard.index)
        except Stopped:
            pass  # its review waited for something: the next run reviews it again
        except GristmillError as error:
            self._stop.request(error)
        finally:
            await shard.writer.__aexit__()
            self._writers.discard(shard.writer)
            self._open_shards.release()
            sealed.set_result(done)

    async def _seal(self, shard: _OpenShard) -> Seal:
        dropped: dict[str, Failure] = {}
        if self._job.review is not None:
            rows = await asyncio.to_thread(shard.writer.rows, self._job.row, shard.order)
            refused = await self._job.review(rows)
            dropped = {id_: _failure(error) for id_, error in refused.items()}
            for id_, failure in dropped.items():
                self._emit(InputDropped(job=self._job.name, id=id_, kind=failure.kind, reason=failure.reason))
        return await shard.writer.seal(shard.order, source=shard.source, dropped=dropped)

    def _tell_sealed(self, index: int, seal: Seal, *, found: bool) -> None:
        self._emit(
            ShardSealed(
                job=self._job.name,
                shard=index,
                inputs=seal.inputs,
                rows=seal.rows,
                failed=len(seal.failures),
                usage=seal.usage,
                found=found,
            )
        )


def _failure(error: Permanent) -> Failure:
    # A reason may quote the name of a file, which need not be text; a checkpoint line must be.
    return Failure(kind=error.kind, reason=str(error).encode("utf-8", "replace").decode("utf-8"))
