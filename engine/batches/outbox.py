"""The outbox of one role: rows are written into the file of the next batch, until it is full or nobody comes any more."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from engine.batches.journal import Journal, Key
from engine.batches.policy import BatchPolicy, BatchTimes
from engine.batches.record import BatchRecord
from engine.budget import Budget, Reservation
from engine.files import naming_the_disk, sync_folder
from engine.requests import Usage

__all__ = ["Outbox", "Parcel"]

Send = Callable[["Parcel"], None]


class Parcel:
    """The file of one batch, as long as rows are added. ``held`` is what is reserved for them, where there is a budget."""

    def __init__(self, journal: Journal, number: int, budget: Budget | None) -> None:
        self.number = number
        self.groups: Counter[str] = Counter()
        self.rows = self.texts = self.bytes = self.tokens = 0
        self.held: Reservation | None = budget.hold(Usage()) if budget is not None else None
        self._path = journal.requests(number)
        with naming_the_disk(self._path):
            self._requests: BinaryIO = self._path.open("wb")
            self._keys: BinaryIO = journal.keys(number).open("wb")

    def add(self, key: Key, row: bytes, *, texts: int, tokens: int) -> None:
        with naming_the_disk(self._path):
            self._requests.write(row)
            self._keys.write(msgspec.json.encode(key) + b"\n")
        self.groups[key.group] += 1
        self.rows += 1
        self.texts += texts
        self.bytes += len(row)
        self.tokens += tokens

    def sync(self) -> None:
        """Make the files durable, whole, and close them; blocks."""
        with naming_the_disk(self._path):
            for file in (self._requests, self._keys):
                file.flush()
                os.fsync(file.fileno())
                file.close()
            sync_folder(self._path.parent)

    def close(self) -> None:
        """Close the files, which are not to be sent."""
        with naming_the_disk(self._path):
            self._requests.close()
            self._keys.close()

    def record(self, role: str, policy: BatchPolicy, account: str, now: float) -> BatchRecord:
        """The record of its batch, which is meant."""
        return BatchRecord(
            number=self.number,
            role=role,
            jobs=sorted({group.rpartition("/")[0] for group in self.groups}),
            account=account,
            window_s=policy.window_s,
            rows=self.rows,
            reserved=self.held.most if self.held is not None else Usage(),
            made_at=now,
            tokens=self.tokens,
            groups={group: (count,) for group, count in self.groups.items()},
        )


class Outbox:
    """Gathers the rows of one role. ``begin`` makes an empty parcel, ``send`` takes one that is to go.

    ``most_tokens`` is the share of the provider's queue that one batch may take; None is no bound.
    """

    def __init__(self, policy: BatchPolicy, times: BatchTimes, begin: Callable[[], Parcel], send: Send) -> None:
        self.most_tokens = policy.enqueued_tokens
        self._policy = policy
        self._times = times
        self._begin = begin
        self._send = send
        self._parcel: Parcel | None = None
        self._newest = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def parcel(self) -> Parcel:
        """The one that rows are added to now."""
        if self._parcel is None:
            self._parcel = self._begin()
        return self._parcel

    def put(self, key: Key, row: bytes, *, texts: int, tokens: int) -> None:
        """Add a row to the parcel, which is sent when it is full."""
        loop = asyncio.get_running_loop()
        parcel = self.parcel()
        parcel.add(key, row, texts=texts, tokens=tokens)
        self._newest = loop.time()
        if self._is_full(parcel, texts, len(row), tokens):
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._times.idle_s, self._look)

    def flush(self) -> None:
        """Send what is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        parcel, self._parcel = self._parcel, None
        if parcel is not None:
            self._send(parcel)

    def drop(self) -> None:
        """Close the files without sending them: their records ask again in the next run."""
        if self._timer is not None:
            self._timer.cancel()
        if self._parcel is not None:
            self._parcel.close()
            self._parcel = None

    def _is_full(self, parcel: Parcel, texts: int, size: int, tokens: int) -> bool:
        """Whether another row like this one might be too much."""
        policy = self._policy
        return (
            parcel.texts + texts > policy.rows
            or parcel.bytes + size > policy.bytes
            or (self.most_tokens is not None and parcel.tokens + tokens > self.most_tokens)
        )

    def _look(self) -> None:
        """Send the parcel when nobody has come for long enough."""
        loop, due = asyncio.get_running_loop(), self._newest + self._times.idle_s
        if loop.time() >= due:
            self._timer = None
            self.flush()
        else:
            self._timer = loop.call_at(due, self._look)
