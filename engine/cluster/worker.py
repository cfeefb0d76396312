"""A worker: works on the shards that the head hands out, with the jobs of the same pipeline.

It claims, reviews, renames and deletes nothing: it writes rows, journal and mark of the shards that it was given.

It works only while it hears of the head. Without orders for `QUIET_S` it starts no new request, and after `LOST_S` it ends:
by then the head has handed its shards out again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import msgspec

from engine.cluster.folding import Folded
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.messages import Decision, Fed, Orders, Report, Task, Worked
from engine.cluster.place import LOST_S, QUIET_S
from engine.errors import Fatal
from engine.events import Event, InputFailed
from engine.records import decode_lines, encode
from engine.requests import Call, Reply, Request
from engine.shard_run import Handed, JobContext, ShardRun
from engine.shards import Seal
from engine.signals import Stop, Stopped, uninterrupted

__all__ = ["Events", "Worker", "gone"]

_VISIBLE_S = 60.0
"""How long what the head has sealed may take to be seen here: a network's file system remembers what was not there."""


def gone() -> None:
    """End this process at once: the head has given up on it."""
    os._exit(3)


class Events:
    """The hook of a worker: its events, until they are reported."""

    def __init__(self) -> None:
        self.folded = Folded()
        self.urgent = asyncio.Event()

    def __call__(self, event: Event, shard: int = -1) -> None:
        self.folded.add(event, shard)
        if isinstance(event, InputFailed):
            self.urgent.set()

    def of(self, shard: int) -> Callable[[Event], None]:
        """The hook for the events of one shard."""
        return lambda event: self(event, shard)


class Worker:
    """A `Place` in this process. `jobs` are the contexts of the jobs that it may be given, by name.

    Their requests are sent while `alive`, under what `leases` are granted; `events` is the hook of all that they are made
    with.
    """

    def __init__(
        self,
        jobs: Mapping[str, JobContext],
        *,
        stop: Stop,
        events: Events,
        alive: Alive,
        leases: Leaseholder | None = None,
        in_flight: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._jobs = jobs
        self._stop = stop
        self._events = events
        self._alive = alive
        self._leases = leases
        self._in_flight = in_flight
        self._open: dict[tuple[str, int], ShardRun] = {}
        self._fed: list[Fed] = []
        self._prepared = {name: asyncio.Event() for name in jobs}
        self._beats = self._reports = 0
        self._reported_at = asyncio.get_running_loop().time()

    async def work(self, task: Task) -> Worked:
        try:
            return await self._worked(task)
        except Stopped as stopped:
            raise self._stop.error or stopped from None

    async def decide(self, decision: Decision) -> Seal:
        """Raises `Stopped` for a shard that is not open here any more."""
        run = self._open.pop((decision.job, decision.index), None)
        if run is None:
            raise self._stop.error or Stopped("the run is stopping")
        try:
            return await run.decide(decision.dropped)
        finally:
            await uninterrupted(run.close())

    async def beat(self, orders: Orders) -> Report:
        self._alive.hear(self._reported_at)
        if self._leases is not None and orders.grant is not None:
            self._leases.take(orders.grant)
        if orders.stop:
            self._stop.request()
        self._beats += 1
        mine = self._beats
        if mine > self._reports + 1:
            self._events.urgent.set()  # a call before this one waits
        with suppress(TimeoutError):
            async with asyncio.timeout(orders.wait_s):
                await self._events.urgent.wait()
        self._reports += 1
        self._reported_at = asyncio.get_running_loop().time()
        return self._report() if mine == self._beats else Report()

    async def close(self) -> None:
        """Close the files of shards that were not decided."""
        while self._open:
            await self._open.popitem()[1].close()

    def _report(self) -> Report:
        self._events.urgent.clear()
        fed, self._fed = self._fed, []
        flying = {job: count for job, count in self._in_flight().items() if count}
        demand = self._leases.demand() if self._leases is not None else None
        return Report(events=self._events.folded.take(), fed=fed, in_flight=flying, demand=demand)

    async def _worked(self, task: Task) -> Worked:
        context = await self._context(task)
        await _check_inputs(context, task)
        kinds = {dataset.name: dataset.row for dataset in context.inputs}
        handed = Handed(
            index=task.index,
            fence=task.fence,
            source=task.source,
            again=frozenset(task.again),
            beside={name: list(decode_lines(lines, kinds[name])) for name, lines in task.beside.items()},
        )
        run = await ShardRun.take_over(context, handed)
        try:
            async with asyncio.TaskGroup() as tasks:
                with self._stop.on_error():
                    await run.feed(tasks)
                self._fed.append(Fed(job=task.job, index=task.index))
                self._events.urgent.set()
            await run.work_off()
            claims = await _claims(run, context)
        except BaseException:
            await uninterrupted(run.close())
            raise
        self._open[task.job, task.index] = run
        return Worked(claims=claims, events=self._events.folded.take())

    async def _context(self, task: Task) -> JobContext:
        context = self._jobs.get(task.job)
        if context is None:
            raise Fatal(f"the worker knows no job {task.job!r}: run the same release everywhere")
        if context.job.prepared is not None:
            if task.prepared is not None:
                context.job.prepared.load(msgspec.json.decode(task.prepared))
                self._prepared[task.job].set()
            await self._prepared[task.job].wait()
        return replace(context, emit=self._events.of(task.index))


class Alive:
    """Whether the head is heard. Where it is not, no request is begun, and the process ends by `end` in the end."""

    def __init__(self, end: Callable[[], None] = gone, *, quiet_s: float = QUIET_S, lost_s: float = LOST_S) -> None:
        self._end = end
        self._quiet_s = quiet_s
        self._lost_s = lost_s
        self._heard_at = asyncio.get_running_loop().time()
        self._heard = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, reported_at: float) -> None:
        """Orders have come after a report that was made at `reported_at`: the head was there then. They may be older than
        now, if this process was frozen. From the first time on it has to be heard again and again."""
        loop = asyncio.get_running_loop()
        self._heard_at = max(self._heard_at, reported_at)
        self._heard.set()
        if self._timer is None:
            self._timer = loop.call_later(self._lost_s, self._look)

    def watched(self, call: Call) -> Call:
        """`call`, which is not begun while the head is not heard."""
        time = asyncio.get_running_loop().time

        async def sent(request: Request) -> Reply:
            while time() - self._heard_at > self._quiet_s:
                self._heard.clear()
                await self._heard.wait()
            return await call(request)

        return sent

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._heard_at + self._lost_s - loop.time()
        if left <= 0:
            self._end()
        self._timer = loop.call_later(max(left, 0.1), self._look)


async def _check_inputs(context: JobContext, task: Task) -> None:
    """Wait until the shard's inputs are here what they are at the head. Raises `Fatal` where they stay others."""
    datasets = {dataset.name: dataset for dataset in context.inputs}
    until, pause_s = asyncio.get_running_loop().time() + _VISIBLE_S, 0.05
    for name, stamp in task.stamps.items():
        while await asyncio.to_thread(datasets[name].stamp, task.index) != stamp:
            if asyncio.get_running_loop().time() > until:
                raise Fatal(
                    f"a worker does not see shard {task.index} of {name} as the head does: the folder of the run has to be "
                    "one that all machines share"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
            context.stop.check()


async def _claims(run: ShardRun, context: JobContext) -> bytes | None:
    if context.job.review is None:
        return None
    claims = await run.claims()
    if context.job.claims is None:
        return b"".join(map(encode, claims))
    return msgspec.json.encode(claims)
