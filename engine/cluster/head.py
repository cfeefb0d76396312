"""The head's side of a cluster: keeps its workers alive, hears them, and gives each shard to one of them.

A worker that ends, or is not heard for `LOST_S`, is lost: it is ended for good, another one takes its place, and its shards
are handed out again. Whatever it might still do reaches nothing (`engine.shards`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Self

from engine.cluster.head_start import HeadStart
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.leases import Leases
from engine.cluster.members import Member, Members
from engine.cluster.messages import Orders, Report
from engine.cluster.place import BEAT_S, LOST_S, Lost, Places
from engine.cluster.remote_shard import RemoteShard
from engine.elsewhere import OpenShard
from engine.errors import Fatal, GristmillError
from engine.events import Hook, Note
from engine.shard_run import JobContext
from engine.signals import Stop

__all__ = ["Cluster"]

START_ATTEMPTS = 5
"""The run ends when this number of workers in a row have ended before they were ready."""

_START_S = 120.0
"""A worker that is not ready by then is lost: imports from a slow disk, or a place on another machine, take less."""

_PAUSE_S = 0.05
"""The least time between two reports of one worker."""


class Cluster:
    """`size` workers of `places`, up while inside. It is the runner's `Elsewhere` for the jobs that `serve` names.

    `heard` is called with the name of a worker and its report, which is None once the worker is lost. What all share is
    divided by `serve`'s leases; the head has a part of it, since it asks models too.

    With `head_start_s` the head begins, and workers start after that many seconds at most (`engine.cluster.head_start`).
    Where it is None, workers start at once and do all.
    """

    def __init__(
        self,
        places: Places,
        size: int,
        *,
        stop: Stop,
        hook: Hook,
        heard: Callable[[str, Report | None], None] = lambda name, report: None,
        head_start_s: float | None = None,
    ) -> None:
        self.size = size
        self._places = places
        self._stop = stop
        self._hook = hook
        self._spread: Collection[str] = ()
        self._before: Callable[[str], Awaitable[None]] | None = None
        self._leases: Leases | None = None
        self._starved = asyncio.Event()
        self._heard = heard
        self._members = Members(stop=stop, hook=hook)
        self._head_start = None if head_start_s is None else HeadStart(self._members, head_start_s)
        self._up: set[str] = set()
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        await self._places.check()
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(1, self.size + 1)]
        self._stop.when_requested(self._pass_stop_on)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._places.end(name) for name in list(self._up)))
        await self._places.close()
        for each in ends:
            if isinstance(each, Exception) and error is None:
                raise each

    def share(self, leases: Leases, head: Leaseholder) -> None:
        """Divide what all processes share by `leases`; `head` holds the part of this one."""
        self._leases = leases
        self._tasks.append(asyncio.create_task(self._grant_head(leases, head)))

    def starve(self) -> None:
        """A request of this process has to wait for a grant."""
        self._starved.set()

    def serve(self, jobs: Collection[str], *, before: Callable[[str], Awaitable[None]] | None = None) -> None:
        """Work on the shards of these jobs. `before` is awaited with the name of a job before a shard of it is handed out."""
        self._spread, self._before = jobs, before

    @property
    def ready(self) -> int:
        """How many workers are ready for work."""
        return len(self._members.alive)

    def takes(self, job: str) -> bool:
        return job in self._spread

    async def open(self, context: JobContext, index: int, begun: int | None) -> OpenShard:
        if self._before is not None:
            await self._before(context.job.name)
        if self._head_start is not None and (own := await self._head_start.open(context, index, begun)):
            return own
        return RemoteShard(context, index, self._members, await self._members.free(context.job.name))

    async def last_reports(self) -> None:
        """Hear each worker once more, at the end of a run."""
        await asyncio.gather(*(self._beat(member, wait_s=0.0) for member in list(self._members.alive)))

    def _pass_stop_on(self) -> None:
        for member in list(self._members.alive):
            self._tasks.append(asyncio.create_task(self._beat(member, wait_s=0.0)))

    async def _keep(self, number: int) -> None:
        """Keep one worker alive until the run stops. What goes wrong here ends the run: nobody else would hear of it."""
        try:
            await self._keep_alive(number)
        except GristmillError as error:
            self._stop.request(error)
        except Exception as error:
            self._stop.request(Fatal(f"a worker failed: {type(error).__name__}: {error}"))
            raise

    async def _keep_alive(self, number: int) -> None:
        """Start one worker after the other, each when the one before is lost."""
        if self._head_start is not None:
            await self._head_start.over()
        if self._stop.requested:
            return
        failed = 0
        for life in count(1):
            name = f"{number}.{life}"
            self._up.add(name)
            try:
                async with asyncio.timeout(_START_S):
                    place = await self._places.start(name)
            except (Lost, TimeoutError):
                failed += 1
                how = await self._end(name)
                if failed == START_ATTEMPTS:
                    self._stop.request(Fatal(f"workers do not start: the last one {how}"))
                    return
                continue
            failed = 0
            member = Member(name, place)
            self._members.add(member)
            await self._beat_on(member)
            how = await self._end(name)
            if self._stop.requested:
                return
            self._hook(Note(job="cluster", text=f"worker {number} {how}: its shards are handed out again"))

    async def _beat_on(self, member: Member) -> None:
        """Hear the worker until it is lost."""
        await self._beat(member, wait_s=0.0)  # its first demand
        while await self._beat(member, wait_s=BEAT_S):  # noqa: ASYNC110 - a report comes when there is news
            await asyncio.sleep(_PAUSE_S)

    async def _beat(self, member: Member, *, wait_s: float) -> bool:
        """Give the worker orders, and hear it. Returns whether it lives."""
        orders = Orders(stop=self._stop.requested, wait_s=wait_s, grant=member.grant)
        try:
            async with asyncio.timeout(LOST_S):
                report = await member.ask(member.place.beat(orders))
        except (Lost, TimeoutError):
            self._members.lose(member)
            return False
        if self._leases is not None and report.demand is not None:
            member.grant = self._leases.grant(member.name, report.demand, asyncio.get_running_loop().time())
        self._members.hear(member, report.events, report.fed)
        self._heard(member.name, report)
        return True

    async def _grant_head(self, leases: Leases, head: Leaseholder) -> None:
        """Grant this process its part, each second and whenever a request starves."""
        while True:
            head.take(leases.grant("head", head.demand(), asyncio.get_running_loop().time()))
            await asyncio.sleep(_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._starved.wait()
            self._starved.clear()

    async def _end(self, name: str) -> str:
        how = await self._places.end(name)
        self._up.discard(name)
        if self._leases is not None:
            self._leases.lost(name)
        self._heard(name, None)
        return how
