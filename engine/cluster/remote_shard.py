"""An open shard that a worker works on: hand out, wait, review, have it decided, carry it out.

When the worker is lost, the shard is handed out again. Only what was in flight there is paid for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.cluster.counted import Counted
from engine.cluster.members import Member, Members
from engine.cluster.messages import Decision, Task, Worked
from engine.cluster.place import Lost
from engine.errors import Fatal, TakenOver
from engine.events import Event
from engine.records import decode_lines, encode
from engine.shard_run import JobContext, reviewed
from engine.shards import Entry, Failure, Seal, new_fence
from engine.signals import Stopped, uninterrupted

__all__ = ["LOSSES", "RemoteShard"]

LOSSES = 5
"""The run ends when this number of workers have been lost in a row with one shard, without a finished record of it."""


class RemoteShard:
    """A shard that `member` has in hand; it has the methods of `engine.shard_run.ShardRun`. `begun` is for its caller."""

    def __init__(self, context: JobContext, index: int, members: Members, member: Member) -> None:
        self.begun = 0
        self.deferred = 0
        self._context = context
        self._index = index
        self._job = context.job.name
        self._shard = context.output.shard(index)
        self._members = members
        self._member: Member | None = None
        self._counted = Counted(context.job.name, context.emit)
        self._handed_out = False
        self._losses, self._entries = 0, -1
        self._take(member)

    def hear(self, event: Event) -> None:
        """The worker has reported an event of this shard."""
        self._counted.hear(event)

    async def feed(self, tasks: asyncio.TaskGroup) -> None:
        """The worker feeds it."""

    async def finish(self, previous_sealed: asyncio.Future[bool]) -> Seal | None:
        """Have the shard worked on, review it in its turn, seal it. Raises `Stopped` if the run stops before the seal."""
        job, dropped = self._context.job, dict[str, Failure]()
        worked = await self._worked()
        if isinstance(worked, Seal):
            return worked
        if job.review is not None:
            if not await asyncio.shield(previous_sealed):
                raise Stopped("the run is stopping")
            dropped = await reviewed(self._context, await asyncio.to_thread(self._claims, worked))
        return await self._sealed(dropped)

    async def close(self) -> None:
        """The worker has nothing more to do with it."""
        self._leave()

    async def _worked(self) -> Worked | Seal:
        """Every input is committed; or the seal, where a worker was lost after it had decided."""
        while True:
            if self._member is None:
                self._take(await self._members.free(self._job, again=True))
            member = self._member
            assert member is not None
            self._context.stop.check()
            fence = new_fence()
            found = await uninterrupted(asyncio.to_thread(self._hand_out, fence))
            if isinstance(found, Seal):
                return found
            try:
                task = await uninterrupted(asyncio.to_thread(self._task, fence, found))
                prepared = self._members.prepared(member, self._context.job)
                worked = await member.ask(member.place.work(msgspec.structs.replace(task, prepared=prepared)))
            except (Lost, TakenOver) as error:
                self._lose(error)
                continue
            self._members.hear(member, worked.events)
            return worked

    async def _sealed(self, dropped: dict[str, Failure]) -> Seal:
        decision = Decision(job=self._job, index=self._index, dropped=dropped)
        while True:
            member = self._member
            assert member is not None
            try:
                await member.ask(member.place.decide(decision))
            except (Lost, TakenOver) as error:
                self._lose(error)
                worked = await self._worked()
                if isinstance(worked, Seal):
                    return worked
                continue
            seal = await uninterrupted(asyncio.to_thread(self._shard.settle))
            if seal is None:
                raise Fatal(f"the shard {self._shard.data} was decided by a worker, and its checkpoint does not say so")
            return seal

    def _hand_out(self, fence: str) -> Seal | list[Entry]:
        """The journal of the shard, which ends in the fence; or its seal, if a worker has decided it. Blocks."""
        job, context = self._context.job, self._context
        if not self._handed_out:
            self._shard.reopen(job.row, job.origin, context.retries, context.flaw)
        before = self._shard.peek()
        seal = self._shard.hand_out(fence)
        if seal is not None:
            self._counted.hand_out(before)
            return seal
        entries = self._shard.peek()
        if not self._handed_out:
            self._handed_out, self.begun = True, len(entries)
        self._counted.hand_out(entries)
        self._check_progress(entries)
        return entries

    def _task(self, fence: str, entries: Sequence[Entry]) -> Task:
        """What the worker has to know. Blocks."""
        context, index = self._context, self._index
        recent = {entry.id for entry in entries[self.begun :]}
        last = {entry.id: entry for entry in entries}
        return Task(
            job=self._job,
            index=index,
            fence=fence,
            source=context.source(index),
            stamps={each.name: each.stamp(index) for each in context.inputs if not each.remembered},
            beside={each.name: b"".join(map(encode, each.read(index))) for each in context.inputs if each.remembered},
            again=[
                entry.id
                for entry in last.values()
                if entry.error is not None and entry.id not in recent and context.retries(entry.error)
            ],
        )

    def _claims(self, worked: Worked) -> Any:
        job, claims = self._context.job, worked.claims or b""
        return list(decode_lines(claims, job.row)) if job.claims is None else msgspec.json.decode(claims)

    def _take(self, member: Member) -> None:
        self._member = member
        self._members.take(member, self._job, self._index, self)

    def _leave(self) -> None:
        if self._member is not None:
            self._members.leave(self._member, self._job, self._index)
            self._member = None

    def _lose(self, error: Exception) -> None:
        """The worker is lost, and the shard with it. One that was taken over by mistake is not trusted any more."""
        assert self._member is not None
        self._members.lose(self._member)
        self._leave()
        self._losses += 1

    def _check_progress(self, entries: Sequence[Entry]) -> None:
        """Raise `Fatal` for a shard that one worker after the other is lost with."""
        finished = sum(not entry.fence for entry in entries)
        if finished != self._entries:
            self._entries, self._losses = finished, 0
        if self._losses >= LOSSES:
            raise Fatal(
                f"{self._losses} workers were lost one after the other while they worked on shard {self._index} of "
                f"{self._job}: see what ended them in run.log, and whether the machine has enough memory"
            )
