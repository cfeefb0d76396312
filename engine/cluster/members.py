"""The workers of a cluster that are alive, as the head sees them: what each has in hand, and which may be given more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import msgspec

from engine.cluster.folding import unfolded
from engine.cluster.messages import Fed, ReportedEvent
from engine.cluster.place import Lost, Place
from engine.demands import Grant
from engine.events import Event, Hook
from engine.job import Job
from engine.signals import Stop

__all__ = ["OPEN_SHARDS", "InHand", "Member", "Members"]

OPEN_SHARDS = 8
"""Shards of one job that may be open at one worker: enough to keep its slots busy at the ends of shards."""

T = TypeVar("T")
_Key = tuple[str, int]


class InHand(Protocol):
    """A shard that a worker has in hand."""

    def hear(self, event: Event) -> None: ...


class Member:
    """One worker, as long as it lives. It has some shards in hand, and feeds one of each job at most."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.place = place
        self.shards: dict[_Key, InHand] = {}
        self.feeding: set[_Key] = set()
        self.prepared: set[str] = set()  # the jobs of which it knows what was prepared
        self.grant: Grant | None = None  # for its next orders
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self._lost.done()

    async def ask(self, asked: Coroutine[Any, Any, T]) -> T:
        """Await what was asked of `place`; raises `Lost` as soon as the worker is taken for lost."""
        task = asyncio.ensure_future(asked)
        try:
            either: list[asyncio.Future[Any]] = [task, self._lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Lost
            return task.result()
        finally:
            task.cancel()

    def lose(self) -> None:
        if self.alive:
            self._lost.set_result(None)

    def open_of(self, job: str) -> int:
        return sum(name == job for name, _ in self.shards)

    def has_room(self, job: str) -> bool:
        """Whether it may be given one more shard of `job`: where it still feeds one, another worker may be faster."""
        return self.open_of(job) < OPEN_SHARDS and not any(name == job for name, _ in self.feeding)


class Members:
    """All workers that are alive. Events go to the shards that they are about, others to `hook`."""

    def __init__(self, *, stop: Stop, hook: Hook) -> None:
        self.alive: list[Member] = []
        self.came = False  # whether one was ever ready
        self._stop = stop
        self._hook = hook
        self._prepared: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        stop.when_requested(self.notify)

    def add(self, member: Member) -> None:
        self.alive.append(member)
        self.came = True
        self.notify()

    def lose(self, member: Member) -> None:
        """Give the worker no more, and raise `Lost` in all who wait for it."""
        member.lose()
        if member in self.alive:
            self.alive.remove(member)

    async def free(self, job: str, *, again: bool = False) -> Member:
        """The worker with the fewest open shards that has room for one of `job`; waits for one. Raises `Stopped`.

        For a shard that is handed out `again` there is always room: others may wait for its review.
        """
        while True:
            self._stop.check()
            free = [member for member in self.alive if again or member.has_room(job)]
            if free:
                return min(free, key=lambda member: (member.open_of(job), len(member.shards)))
            await self.change()

    async def change(self) -> None:
        """Wait until a worker comes or has more room, the run stops, or `notify` is called."""
        await self._changed.wait()

    def take(self, member: Member, job: str, index: int, shard: InHand) -> None:
        """The worker has this shard in hand from now on."""
        member.shards[job, index] = shard
        member.feeding.add((job, index))

    def leave(self, member: Member, job: str, index: int) -> None:
        """The worker has the shard no more."""
        member.shards.pop((job, index), None)
        member.feeding.discard((job, index))
        self.notify()

    def hear(self, member: Member, events: Iterable[ReportedEvent], fed: Iterable[Fed] = ()) -> None:
        """Take in what the worker reports."""
        for each in events:
            event = unfolded(each)
            shard = member.shards.get((event.job, each.shard))
            hear: Callable[[Event], None] = self._hook if shard is None else shard.hear
            hear(event)
        for each_fed in fed:
            member.feeding.discard((each_fed.job, each_fed.index))
        self.notify()

    def prepared(self, member: Member, job: Job) -> bytes | None:
        """What the worker needs to know of `job` before its first shard; None where it knows all."""
        if job.prepared is None or job.name in member.prepared:
            return None
        member.prepared.add(job.name)
        if job.name not in self._prepared:
            self._prepared[job.name] = msgspec.json.encode(job.prepared.dump())
        return self._prepared[job.name]

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
