"""What batches owe to each shard: rows that are on their way, and answers that its records still need.

Nothing here is kept for a single request but for those of shards that are open.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from engine.batches.journal import Journal
from engine.batches.record import BatchRecord
from engine.batches.results import Answers, owed
from engine.budget import Budget, Reservation
from engine.signals import Stop, uninterrupted

__all__ = ["Ledger"]


class Ledger:
    """The shards by group, and the batches that have rows or answers of them."""

    def __init__(self, journal: Journal, stop: Stop, budget: Budget | None) -> None:
        self._journal = journal
        self._stop = stop
        self._budget = budget
        self._records: dict[int, BatchRecord] = {}
        self._live: Counter[str] = Counter()
        self._waits: dict[str, int] = {}  # records that waited when the shard was closed
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._open: dict[str, Answers] = {}
        self._unclaimed: dict[str, Reservation] = {}
        self._forgetting = asyncio.Lock()  # one at a time: two shards may be sealed that have answers in one batch

    async def begin(self) -> int:
        """Take up what earlier processes have left; returns the number of the next batch."""
        records = await asyncio.to_thread(self._journal.begin)
        self._waits = await asyncio.to_thread(self._journal.waiting) if records else {}
        for record in records:
            if record.groups:
                self._records[record.number] = record
            if record.state != "ended":
                self._live.update({group: span[0] for group, span in record.groups.items()})
            else:
                self._claim_later(record)
        return max((record.number for record in records), default=0) + 1

    def roles(self) -> set[str]:
        """The roles whose batches have rows or answers that a shard needs."""
        return {record.role for record in self._records.values()}

    def unfinished(self, role: str) -> list[BatchRecord]:
        """The batches of `role` that have not ended."""
        return [record for record in self._records.values() if record.role == role and record.state != "ended"]

    def answers(self, group: str) -> Answers | None:
        """What has come for a shard that is open; None for one that is not."""
        return self._open.get(group)

    def add_row(self, group: str) -> None:
        """One more row of this shard waits for its batch."""
        self._live[group] += 1

    def add(self, record: BatchRecord) -> None:
        """A new batch; its rows were counted by `add_row`."""
        self._records[record.number] = record

    def settle(self, before: BatchRecord, record: BatchRecord) -> None:
        """The batch has ended: wake the shards that have nothing else on its way."""
        if record.groups:
            self._records[record.number] = record
        else:
            self._records.pop(record.number, None)
        for group, span in before.groups.items():
            self._live[group] -= span[0]
            if self._live[group] <= 0:
                del self._live[group]
                self._wake(group)

    def waits(self, group: str) -> bool:
        return 0 < self._waits.get(group, 0) <= self._live[group]

    async def open(self, group: str, committed: Collection[str]) -> None:
        records = [record for record in self._records.values() if group in record.groups]
        answers = Answers()
        await uninterrupted(asyncio.to_thread(_load, answers, self._journal, records, group, committed))
        self._open[group] = answers
        if (held := self._unclaimed.pop(group, None)) is not None:
            held.settle(answers.usage)

    async def close(self, group: str, deferred: int) -> None:
        self._open.pop(group, None)
        if deferred or self._waits.pop(group, 0):
            if deferred:
                self._waits[group] = deferred
            await uninterrupted(asyncio.to_thread(self._journal.add_waiting, group, deferred))

    async def settled(self, group: str) -> None:
        """Wait until nothing of this shard is on its way. Raises `Stopped` once the run is stopping."""
        self._stop.check()
        while self._live[group] > 0:
            await self._waiters.setdefault(group, asyncio.get_running_loop().create_future())
            self._stop.check()

    def release(self, group: str) -> list[int]:
        """The answers of this shard are needed no more; returns the numbers of the batches that had some."""
        records = [record for record in self._records.values() if record.state == "ended" and group in record.groups]
        for record in records:
            groups = {other: span for other, span in record.groups.items() if other != group}
            self._records[record.number] = msgspec.structs.replace(record, groups=groups)
        if (held := self._unclaimed.pop(group, None)) is not None and self._budget is not None:
            self._budget.free(held)
        return [record.number for record in records]

    async def forget(self, numbers: Iterable[int]) -> None:
        """Write which answers of these batches are still needed; those of no shard are deleted."""
        async with self._forgetting:
            for number in numbers:
                record = self._records.get(number)
                if record is None:
                    continue
                await uninterrupted(asyncio.to_thread(self._journal.write, record))
                if not record.groups:
                    self._records.pop(number, None)
                    await uninterrupted(asyncio.to_thread(self._journal.forget, number, results=True))

    def end(self) -> None:
        """Wake all who wait: the run is stopping."""
        for group in list(self._waiters):
            self._wake(group)

    def _wake(self, group: str) -> None:
        waiter = self._waiters.pop(group, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _claim_later(self, record: BatchRecord) -> None:
        """Reserve what results have cost that an earlier process fetched, until it is known which are committed."""
        if self._budget is None:
            return
        for group, span in record.groups.items():
            if group in self._unclaimed:
                self._budget.add(self._unclaimed[group], owed(span))
            else:
                self._unclaimed[group] = self._budget.hold(owed(span), passive=True)


def _load(
    answers: Answers, journal: Journal, records: list[BatchRecord], group: str, committed: Collection[str]
) -> None:
    for record in records:
        if record.state == "ended":
            answers.add(journal, record, group, committed)
        else:
            answers.add_live(journal, record, group)
