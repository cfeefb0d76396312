"""The runner: jobs run side by side, each following the dataset above it shard by shard.

A slot is taken before a task is created and released when its outcome is on disk: that one semaphore is the
backpressure and the bound on memory. A second one bounds the open shards. Records and shards that are deferred
(`engine.deferrals`) hold neither.

Every end is the same: start nothing more, finish and commit what is in flight, leave incomplete shards to the next run.
A signal, a fatal error and the end of the input differ only in what is raised after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from engine.datasets import Dataset
from engine.deferrals import Deferrals, NothingDeferred
from engine.elsewhere import Elsewhere, OpenShard
from engine.errors import BadInput
from engine.events import Hook, JobFinished, JobStarted, ShardSealed
from engine.job import Job, Pipeline, Step
from engine.requests import Call
from engine.shard_run import JobContext, Retry, ShardRun
from engine.shards import Seal
from engine.signals import Stop, Stopped, uninterrupted

__all__ = ["OPEN_SHARDS", "Retry", "run"]

OPEN_SHARDS = 8
"""Shards of one job that may be open at a time: enough to keep the slots busy at the ends of shards."""


async def run(
    pipeline: Pipeline,
    datasets: Mapping[str, Dataset[Any]],
    call: Call,
    *,
    stop: Stop,
    hook: Hook,
    retry: Retry = lambda job, failure: False,
    deferrals: Deferrals | None = None,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Run every job and step to its end, or to the stop. `deferrals` knows what `call` defers; `elsewhere` has workers.

    Parameters: eight, because it joins jobs, data, calls and their observers.

    Raises the `Fatal` that ended the run, or `Stopped` after a requested stop; all answers are committed by then.
    """
    ended = {step.name: asyncio.Event() for step in pipeline}
    shared = {"call": call, "stop": stop, "emit": hook, "retry": retry, "elsewhere": elsewhere}
    shared["deferrals"] = deferrals or NothingDeferred()
    contexts = _contexts(pipeline, datasets, shared)

    async def run_step(step: Job | Step) -> None:
        with stop.on_error():
            for name in step.waits_for:
                if name in ended:
                    await ended[name].wait()
            stop.check()
            hook(JobStarted(job=step.name))
            await (_JobRun(contexts[step.name]).run() if isinstance(step, Job) else _run_once(step, deferrals))
            stop.check()
            if step.writes is not None:
                datasets[step.writes].close()
            ended[step.name].set()
            hook(JobFinished(job=step.name))

    for let_go in [*(dataset.stop for dataset in datasets.values()), *(event.set for event in ended.values())]:
        stop.when_requested(let_go)
    await _announce(pipeline, datasets)
    async with asyncio.TaskGroup() as tasks:
        for step in pipeline:
            tasks.create_task(run_step(step), name=step.name)
    if stop.error is not None:
        raise stop.error
    stop.check()


async def _run_once(step: Step, deferrals: Deferrals | None) -> None:
    if deferrals is None:
        return await step.run()
    deferrals.begin_work()
    try:
        await step.run()
    finally:
        deferrals.end_work()


def _contexts(
    pipeline: Pipeline, datasets: Mapping[str, Dataset[Any]], shared: Mapping[str, Any]
) -> dict[str, JobContext]:
    return {
        job.name: JobContext(
            job=job,
            rank=rank,
            inputs=[datasets[name] for name in job.reads],
            output=datasets[job.writes],
            slots=asyncio.Semaphore(job.slots),
            **shared,
        )
        for rank, job in enumerate(pipeline)
        if isinstance(job, Job)
    }


async def _announce(pipeline: Pipeline, datasets: Mapping[str, Dataset[Any]]) -> None:
    """Tell each dataset whether a job will fill it; a dataset that no step fills is complete."""
    for step in pipeline:
        if isinstance(step, Job):
            datasets[step.writes].begin()
    made = {step.writes for step in pipeline if step.writes is not None}
    for name in datasets.keys() - made:
        await uninterrupted(asyncio.to_thread(datasets[name].settle))
        datasets[name].close()


class _JobRun:
    """One job, from its first shard to its last."""

    def __init__(self, context: JobContext) -> None:
        self._job = context.job
        self._stop = context.stop
        self._context = context
        self._deferrals = context.deferrals
        elsewhere = context.elsewhere
        self._elsewhere = elsewhere if elsewhere is not None and elsewhere.takes(self._job.name) else None
        self._places = asyncio.Semaphore(OPEN_SHARDS * (self._elsewhere.size if self._elsewhere else 1))
        self._open: set[OpenShard] = set()
        self._older = ""  # why no rows may be added, if the present ones are of an earlier version

    async def run(self) -> None:
        job, output = self._job, self._context.output
        self._older = await uninterrupted(
            asyncio.to_thread(output.claim, job.name, job.fingerprint, job.versions, job.raisable)
        )
        if job.prepare is not None:
            await job.prepare()
        try:
            async with asyncio.TaskGroup() as tasks:
                with self._stop.on_error():  # the tasks of this group finish what is in flight
                    await self._run_shards(tasks)
        finally:
            for shard in self._open:  # of tasks that were cancelled before their start
                await shard.close()
        self._stop.check()
        if job.conclude is not None:
            await job.conclude()

    async def _run_shards(self, tasks: asyncio.TaskGroup) -> None:
        """Open each unfinished shard, in order, and feed it; a task of its own waits for its end.

        A shard all of whose answers are pending is opened when they have arrived.
        """
        loop = asyncio.get_running_loop()
        previous_sealed: asyncio.Future[bool] = loop.create_future()
        previous_sealed.set_result(True)
        async for index in self._unfinished():
            if self._older:
                raise BadInput(self._older)
            shard = None if self._deferrals.waits(self._context.group(index)) else await self._opened(index)
            sealed: asyncio.Future[bool] = loop.create_future()
            tasks.create_task(self._finish(index, shard, tasks, previous_sealed, sealed))
            if shard is not None:
                await shard.feed(tasks)
            previous_sealed = sealed

    async def _opened(self, index: int, begun: int | None = None) -> OpenShard:
        """Take a place and open the shard."""
        await self._context.take(self._places)
        self._deferrals.begin_work()
        try:
            opening = self._elsewhere.open if self._elsewhere is not None else ShardRun.open
            shard = await opening(self._context, index, begun)
        except BaseException:
            self._deferrals.end_work()
            self._places.release()
            raise
        self._open.add(shard)
        return shard

    async def _finish(
        self,
        index: int,
        shard: OpenShard | None,
        tasks: asyncio.TaskGroup,
        previous_sealed: asyncio.Future[bool],
        sealed: asyncio.Future[bool],
    ) -> None:
        """Seal the shard. It may have to be opened again before, when its pending answers have arrived.

        Until then nothing of it is kept in memory.
        """
        done, group = False, self._context.group(index)
        begun, deferred = None, True
        try:
            with self._stop.on_error():
                seal = None
                while seal is None:
                    if shard is None:
                        await self._deferrals.settled(group)
                        if not deferred and not await asyncio.shield(previous_sealed):
                            raise Stopped("the run is stopping")
                        shard = await self._opened(index, begun)
                        tasks.create_task(self._feed(shard, tasks))
                    seal = await self._ended(shard, previous_sealed)
                    begun, deferred, shard = shard.begun, shard.deferred > 0, None
                done = True
                self._sealed(index, seal, found=False)
        finally:
            sealed.set_result(done)

    async def _feed(self, shard: OpenShard, tasks: asyncio.TaskGroup) -> None:
        with self._stop.on_error():
            await shard.feed(tasks)

    async def _ended(self, shard: OpenShard, previous_sealed: asyncio.Future[bool]) -> Seal | None:
        """The seal, or None if the shard has to be opened again. In both cases it is closed and its place is free."""
        try:
            return await shard.finish(previous_sealed)
        finally:
            await self._close(shard)

    async def _close(self, shard: OpenShard) -> None:
        await shard.close()
        self._open.discard(shard)
        self._places.release()
        self._deferrals.end_work()

    async def _unfinished(self) -> AsyncIterator[int]:
        """The shards that are not sealed, or sealed from other inputs than the present ones. Each comes as soon as its
        inputs are sealed."""
        inputs, index = self._context.inputs, 0
        while await inputs[0].wait_sealed(index):
            for other in inputs[1:]:
                await other.wait_sealed(index)
            shards = range(index, index + max(1, min(dataset.known(index) for dataset in inputs)))
            found = await uninterrupted(asyncio.to_thread(self._unchanged, shards))
            for seal in found:
                self._sealed(index, seal, found=True)
                index += 1
            self._stop.check()
            if not found:
                yield index
                index += 1

    def _unchanged(self, shards: Iterable[int]) -> list[Seal]:
        """The seals of the unchanged shards at the start of `shards`, up to the first changed one. Blocks."""
        found = []
        for index in shards:
            seal = self._context.output.shard(index).settle()
            if (
                seal is None
                or seal.source != self._context.source(index)
                or any(map(self._context.retries, seal.failures))
                or self._context.holds_flaws(index)
            ):
                break
            found.append(seal)
        return found

    def _sealed(self, index: int, seal: Seal, *, found: bool) -> None:
        self._context.emit(
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
        self._deferrals.release(self._context.group(index))
        self._context.output.notify(index)
