"""What the head does before there are workers: the first shards, itself.

A worker needs a second or more to start, and the head has all that is needed for the work. So the first request is sent as
soon as in one process. Workers start when the head has sealed a shard: before that, their imports would take the cores
that the first records need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from engine.cluster.members import Members
from engine.shard_run import JobContext, ShardRun
from engine.shards import Seal

__all__ = ["HeadStart"]


class HeadStart:
    """The head opens shards itself until one of `members` is ready. Workers wait up to ``seconds`` for its first seal."""

    def __init__(self, members: Members, seconds: float) -> None:
        self._members = members
        self._seconds = seconds
        self._sealed = asyncio.Event()
        self._feeding: set[str] = set()

    async def over(self) -> None:
        """Wait until workers may start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._sealed.wait()

    async def open(self, context: JobContext, index: int, begun: int | None) -> OwnShard | None:
        """The shard, open in this process; None if a worker is ready. While another shard of this job is still fed, it waits
        for the end of that or for a worker. Raises `Stopped`."""
        job = context.job.name
        while not self._members.came:
            context.stop.check()
            if job not in self._feeding:
                run = await ShardRun.open(context, index, begun)
                self._feeding.add(job)
                return OwnShard(run, context, fed=lambda: self._fed(job), sealed=self._sealed.set)
            await self._members.change()
        return None

    def _fed(self, job: str) -> None:
        self._feeding.discard(job)
        self._members.notify()


class OwnShard:
    """An open shard of this process. It is fed by a task of its own, so that others can be handed out meanwhile."""

    def __init__(
        self, run: ShardRun, context: JobContext, *, fed: Callable[[], None], sealed: Callable[[], None]
    ) -> None:
        self._run = run
        self._context = context
        self._fed = fed
        self._sealed = sealed
        self.begun = run.begun

    @property
    def deferred(self) -> int:
        return self._run.deferred

    async def feed(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._feed(tasks))

    async def finish(self, previous_sealed: asyncio.Future[bool]) -> Seal | None:
        seal = await self._run.finish(previous_sealed)
        self._sealed()
        return seal

    async def close(self) -> None:
        await self._run.close()

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        with self._context.stop.on_error():
            try:
                await self._run.feed(tasks)
            finally:
                self._fed()
