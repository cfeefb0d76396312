"""The way of one batch: its file goes to the provider, the batch is created, looked at until it ends, and fetched.

Each effect is journalled before it happens and after it has happened; `engine.batches.journal` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.batches.journal import Journal
from engine.batches.policy import BatchPolicy, BatchTimes
from engine.batches.queue import ProviderQueue
from engine.batches.record import BatchRecord
from engine.batches.results import collect
from engine.batches.service import BatchService, BatchState, FileVanished, QueueFull
from engine.errors import Transient
from engine.events import BatchChanged, Hook, Note
from engine.requests import Usage
from engine.signals import Stop, uninterrupted

__all__ = ["Courier", "Surroundings"]

T = TypeVar("T")

_LOOKS = 3
"""How often a batch is looked at again that has ended and does not name its results, or is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all batches of a run share. ``clock`` tells the seconds since 1970.

    ``files`` is held while a large file is sent or read: one at a time bounds the memory that all need.
    """

    journal: Journal
    times: BatchTimes
    stop: Stop
    hook: Hook
    clock: Callable[[], float]
    files: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tell(self, record: BatchRecord, text: str) -> None:
        """One line for the user about a batch."""
        name = f"batch {record.number} ({record.role}, {record.rows} requests)"
        self.hook(Note(job="batches", text=f"{name}: {text}"))

    async def write(self, record: BatchRecord) -> None:
        """Write the record of a batch, and tell how it stands."""
        await uninterrupted(asyncio.to_thread(self.journal.write, record))
        self.hook(
            BatchChanged(
                job="batches",
                number=record.number,
                role=record.role,
                state=record.state,
                status=record.status,
                rows=record.rows,
                done=record.done,
                failed=record.failed,
                made_at=record.made_at,
            )
        )


class Courier:
    """Takes one batch through its states. ``record`` is as it is on disk.

    ``is_sending`` while the batch is being created: then, and only then, it is not to be cancelled by a stop.
    """

    def __init__(
        self,
        record: BatchRecord,
        service: BatchService,
        policy: BatchPolicy,
        queue: ProviderQueue,
        around: Surroundings,
    ) -> None:
        self.record = record
        self.is_sending = False
        self._service = service
        self._policy = policy
        self._queue = queue
        self._around = around
        self._refused = 0
        self._told = False

    async def run(self) -> BatchRecord:
        """Take the batch from where it stands to its end; returns its record.

        Raises `Stopped` once the run is stopping, and `Fatal` where the provider takes nothing of ours.
        """
        try:
            while self.record.state != "ended":
                match self.record.state:
                    case "meant":
                        await self._upload()
                    case "uploaded":
                        await self._submit()
                    case "submitted":
                        await self._follow()
        finally:
            self._queue.leave(self.record.number)
        return self.record

    async def _change(self, **changes: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        await self._around.write(self.record)

    async def _upload(self) -> None:
        await self._queue.enter(self.record.number, self.record.tokens)
        self._around.stop.check()
        file_id = await self._patiently(self._send_file)
        await self._change(state="uploaded", file_id=file_id, asked_at=0.0)

    async def _send_file(self) -> str:
        async with self._around.files:
            return await self._service.upload(self._around.journal.requests(self.record.number))

    async def _submit(self) -> None:
        """Create the batch, unless an earlier try has made it."""
        record = self.record
        if record.asked_at:
            found = await self._search(record.asked_at + self._around.times.settle_s)
            if found is not None:
                await self._submitted(found)
                return
        await self._queue.enter(record.number, record.tokens)
        self._around.stop.check()
        self.is_sending = True
        try:
            await self._change(asked_at=self._around.clock())
            state = await self._service.create(record.file_id, self._policy.window)
            await self._submitted(state)
            if not state.ended:
                self._queue.taken()
        except QueueFull:
            self.is_sending = False
            await self._make_room(file_id=record.file_id)
        except FileVanished:
            self._around.tell(record, "its file has vanished at the provider; it is uploaded again")
            await self._change(state="meant", file_id="", asked_at=0.0)
        except Transient as error:  # it may exist all the same: the next turn searches for it
            await self._change(asked_at=self._around.clock())  # it may have been made until now
            self._tell_once(error)
        finally:
            self.is_sending = False

    async def _submitted(self, state: BatchState) -> None:
        await self._change(
            state="submitted",
            batch_id=state.id,
            status=state.status,
            submitted_at=state.created_at or self._around.clock(),
        )

    async def _search(self, until: float) -> BatchState | None:
        """The batch that was made of our file, as soon as a list has it; None when it is certain that there is none."""
        while True:
            late = self._around.clock() >= until
            found = await self._patiently(self._listed)
            if found is not None or late:
                return found
            await self._around.stop.sleep(min(self._around.times.poll_s, max(1.0, until - self._around.clock())))

    async def _listed(self) -> BatchState | None:
        async for state in self._service.list():
            if state.input_file == self.record.file_id:
                return state
        return None

    async def _make_room(self, file_id: str = "") -> None:
        """The provider's queue is full, and nothing ran: wait, or ask for less at a time.

        The file at the provider can be used again where no batch was made of it.
        """
        record, times = self.record, self._around.times
        alone = not self._queue.refused(record.number, record.tokens)
        self._refused += alone
        if alone and self._refused > 1 and record.rows > 1:
            self._queue.limit = max(1, record.tokens // 2)
            self._around.tell(record, "the provider's queue has no room for it; its requests go in smaller batches")
            await self._change(state="ended", status="queue_full", ended_at=self._around.clock(), groups={})
            return
        state = "uploaded" if file_id else "meant"
        await self._change(state=state, file_id=file_id, batch_id="", asked_at=0.0, status="")
        if alone:
            await self._around.stop.sleep(times.poll_s * min(30, 2 ** (self._refused - 1)))

    async def _follow(self) -> None:
        """Look at the batch until it has ended, then fetch its results."""
        self._queue.take(self.record.number, self.record.tokens)
        misses = looks = 0
        while True:
            state = await self._patiently(lambda: self._service.get(self.record.batch_id))
            misses = misses + 1 if state is None else 0
            if misses >= _LOOKS:
                self._around.tell(self.record, "the provider does not know it any more; its requests are sent again")
                return await self._end("vanished", "it vanished", [])
            if state is not None:
                await self._note(state)
                if state.queue_full:
                    return await self._make_room()
                nameless = state.completed > 0 and not state.output_file
                looks += state.ended
                if state.ended and (not nameless or looks > _LOOKS):
                    return await self._fetch(state)
            await self._around.stop.sleep(self._around.times.poll_s)

    async def _note(self, state: BatchState) -> None:
        """Write down how the batch stands, if that has changed."""
        record = self.record
        if (state.status, state.completed, state.failed) != (record.status, record.done, record.failed):
            await self._change(status=state.status, done=state.completed, failed=state.failed)

    async def _fetch(self, state: BatchState) -> None:
        parts, lost = [], False
        for kind, file_id in (("output", state.output_file), ("error", state.error_file)):
            if file_id:
                to = self._around.journal.downloaded(self.record.number, kind)
                there = await self._patiently(partial(self._service.download, file_id, to))
                parts += [to] if there else []
                lost = lost or not there
        reason = state.reason
        if lost or (state.completed and not state.output_file):
            reason = "its results have vanished"
            self._around.tell(self.record, f"{reason} at the provider; its requests are sent again")
        elif state.status != "completed":
            self._around.tell(self.record, f"{state.status}{f' ({reason})' * bool(reason)}; what lacks is sent again")
        await self._end(state.status, reason, parts)

    async def _end(self, status: str, reason: str, parts: list[Path]) -> None:
        """Write the results of all rows, those without an answer included, then the record."""
        journal, service = self._around.journal, self._service
        async with self._around.files:
            groups, paid = await uninterrupted(
                asyncio.to_thread(collect, journal, self.record, parts, service.custom_id, service.usage)
            )
        await self._change(
            state="ended",
            status=status,
            reason=reason,
            groups=groups,
            paid=paid,
            ended_at=self._around.clock(),
            reserved=Usage(),
        )

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """What `step`, which may be repeated, returns: tried again for as long as it fails for a while."""
        wait_s = self._around.times.poll_s / 8
        while True:
            try:
                return await step()
            except Transient as error:
                self._tell_once(error)
                await self._around.stop.sleep(max(wait_s, error.retry_after_s or 0.0))
                wait_s = min(2 * wait_s, 10 * self._around.times.poll_s)

    def _tell_once(self, error: Transient) -> None:
        if not self._told:
            self._told = True
            self._around.tell(self.record, f"{error}; it is tried again")
