"""Writing to an open shard: many tasks append, and what arrives together is synced together.

A commit appends rows, syncs them, appends checkpoint lines, syncs those; `engine.shards` says why this is safe.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from io import FileIO
from typing import Any, Literal, Self

import aiofiles
import aiofiles.os
import msgspec

from engine.checkpoints import seal_of
from engine.errors import Fatal
from engine.files import append_synced, naming_the_disk, sync_folder
from engine.records import Record, decode_lines
from engine.requests import Usage
from engine.shards import Entry, Failure, Seal, Shard, new_fence, total
from engine.signals import uninterrupted

__all__ = ["GATHER_MOST_S", "GATHER_S", "ShardWriter"]

GATHER_S = 0.02
"""The least time between the starts of two commits of one shard, in seconds: what arrives meanwhile shares a sync."""

GATHER_MOST_S = 0.5
"""That time on the slowest disk: a shared one has to serve the syncs of many processes."""

_SHARE = 0.1  # of the time that a shard's syncs may take up


class ShardWriter:
    """An open shard: many tasks append, a few writes commit. Enter it to open the files, leave it to close them.

    Group commit: an input that arrives while a batch is being written, or within `GATHER_S` of its start, joins the
    next batch. A batch is committed as soon as ``crowd`` inputs wait, because they hold the slots that others need. So
    a single input is written at once, and thousands per second in a few large commits.

    Where syncs are slow, on a shared disk for example, more inputs share one: commits start so far apart that syncs take
    up a tenth of the time, `GATHER_MOST_S` at most, and wait for twice the crowd. The quickest of the last three commits
    counts, so one that was held up by chance changes nothing.

    With a ``fence`` the shard was handed out to this process (`engine.shards`): it may `decide` the shard, but not seal it.
    """

    def __init__(self, shard: Shard, *, crowd: int = 1, fence: str = "") -> None:
        self.shard = shard
        self._fence = fence
        self.finished: dict[str, Entry] = {}
        self._least_crowd = self._crowd = crowd
        self._took: deque[float] = deque(maxlen=3)  # seconds of the last commits
        self._entries: list[Entry] = []
        self._end = 0
        self._batch = _Commit()
        self._begun = -math.inf  # the last commit, by the loop's time
        self._committing: asyncio.Task[None] | None = None
        self._broken: BaseException | None = None
        self._files = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self._entries = await uninterrupted(self._opened())
        except BaseException:
            await self._files.aclose()
            raise
        self.finished = {entry.id: entry for entry in self._entries}
        self._end = self._entries[-1].end if self._entries else 0
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    async def append(self, entry: Entry, rows: Sequence[bytes] = ()) -> None:
        """Commit one finished input: when this returns, its rows (whole lines) and its entry are on disk.

        ``entry.end`` is filled in here. Raises `Fatal` when they could not be written; every later call then raises
        `Fatal` as well. A cancelled call returns when the write has ended, because threads cannot be cancelled.
        """
        batch = self._batch
        written = batch.add(entry, rows)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        elif len(batch.outcomes) >= self._crowd:
            batch.be_ready()
        try:
            await written
        except asyncio.CancelledError:
            await asyncio.wait([batch.settled])
            raise
        if self._broken is not None:
            raise self._refusal(self._broken)

    @property
    def gather_s(self) -> float:
        """The least time between the starts of two commits now, in seconds."""
        steady = len(self._took) == self._took.maxlen
        return min(GATHER_MOST_S, max(GATHER_S, min(self._took) / _SHARE)) if steady else GATHER_S

    @property
    def commits(self) -> int:
        """How many entries the journal has so far."""
        return len(self._entries)

    def since(self, commit: int) -> set[str]:
        """The ids of the inputs that the journal has entries of from entry `commit` on."""
        return {entry.id for entry in self._entries[commit:]}

    def failures(self) -> Counter[str]:
        """How often each input has failed."""
        return Counter(entry.id for entry in self._entries if entry.error is not None)

    @property
    def usage(self) -> Usage:
        """What has been paid for in this shard so far."""
        return total(entry.usage for entry in self._entries)

    def rows(self, kind: type[Record], order: Mapping[str, int]) -> list[Any]:
        """The rows committed so far, in the order of their inputs; raises `Fatal` for damaged files; blocks."""
        with naming_the_disk(self.shard.data):
            placed = self.shard.committed(self._data_so_far(), self._entries, order)
        return list(decode_lines(b"".join(lines for _, lines in placed), kind))

    async def seal(
        self, order: Mapping[str, int], *, source: str, dropped: Mapping[str, Failure], kept: int = 0
    ) -> Seal:
        """Close the files and make the shard final. `order` maps every input's id to its position.

        The last `kept` inputs of `order` are former ones.

        The rows of `dropped` inputs are left out and their failures recorded. Raises `Fatal` when the disk fails.
        """
        await self._close()
        entries = self._with_dropped(dropped)
        return await uninterrupted(asyncio.to_thread(self.shard.write_seal, entries, order, source, kept))

    async def decide(
        self, order: Mapping[str, int], *, source: str, dropped: Mapping[str, Failure], kept: int = 0
    ) -> Seal:
        """As `seal`, of a shard that was handed out: its seal is written down, and the process that gave it seals it.

        Raises `TakenOver` if that process has handed it out again.
        """
        await self._committed()
        entries = self._with_dropped(dropped)

        def decide() -> Seal:
            with naming_the_disk(self.shard.data):
                placed = self.shard.committed(self._data_so_far(), entries, order)
            seal = seal_of(placed, entries, inputs=len(order) - kept, source=source, kept=kept)
            self.shard.decide(seal, [lines for _, lines in placed], _raw(self._checkpoint), self._fence)
            return seal

        try:
            return await uninterrupted(asyncio.to_thread(decide))
        finally:
            await self._close()

    def _with_dropped(self, dropped: Mapping[str, Failure]) -> list[Entry]:
        return [
            msgspec.structs.replace(entry, rows=0, error=dropped[entry.id]) if entry.id in dropped else entry
            for entry in self._entries
        ]

    def _data_so_far(self) -> bytes:
        """The rows in order of completion. Those of a shard that was handed out are in the open file; blocks."""
        if not self._fence:
            return self.shard.data.read_bytes()
        rows = _raw(self._data)
        rows.seek(0)
        return rows.read()

    async def _opened(self) -> list[Entry]:
        """Open both files; the entries that the checkpoint holds."""
        entries = [] if self._fence else await asyncio.to_thread(self._recover)
        mode: Literal["ab", "r+b"] = "r+b" if self._fence else "ab"  # what was handed out is never created
        opening = self._files.enter_async_context
        try:
            with naming_the_disk(self.shard.data):
                self._data = await opening(aiofiles.open(self.shard.data, mode, buffering=0))
                self._checkpoint = await opening(aiofiles.open(self.shard.checkpoint, mode, buffering=0))
        except Fatal as error:
            if self._fence and isinstance(error.__cause__, FileNotFoundError):
                raise self.shard.taken_over() from error
            raise
        if self._fence:
            entries = await asyncio.to_thread(self.shard.held, _raw(self._checkpoint), self._fence)
            await self._data.seek(0, os.SEEK_END)
        return entries

    def _recover(self) -> list[Entry]:
        entries = self.shard.entries()
        if any(entry.fence for entry in entries):  # else a worker that was given it could still write
            self.shard.hand_out(new_fence())
            entries = self.shard.entries()
        with naming_the_disk(self.shard.data):
            # The checkpoint is created before the first row, so rows without a checkpoint always mean damage.
            for path in (self.shard.checkpoint, self.shard.data):
                path.touch()
                sync_folder(path.parent)
        return entries

    async def _committed(self) -> None:
        """Wait for the commits that are under way."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    async def _close(self) -> None:
        await self._committed()
        await uninterrupted(self._files.aclose())  # a file whose closing was cancelled stays open

    async def _commit_all(self) -> None:
        """Write batches until no input waits."""
        while self._batch.outcomes:
            if len(self._batch.outcomes) < self._crowd:
                await self._batch.gather(until=self._begun + self.gather_s)
            self._begun = asyncio.get_running_loop().time()
            batch, self._batch = self._batch, _Commit()
            try:
                if self._broken is None:
                    with naming_the_disk(self.shard.data):
                        await self._write(batch.outcomes)
            except BaseException as error:  # noqa: BLE001 (any error must reach the tasks that wait)
                self._broken = error  # the files may end in half a batch, which only the next open repairs
            batch.settle()
        self._committing = None

    async def _write(self, outcomes: Sequence[tuple[Entry, Sequence[bytes]]]) -> None:
        end, entries = self._end, []
        for entry, rows in outcomes:
            end += sum(map(len, rows))
            entries.append(msgspec.structs.replace(entry, rows=len(rows), end=end))
        took_s = await _commit(
            [
                (self._data, b"".join(row for _, rows in outcomes for row in rows)),
                (self._checkpoint, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)),
            ]
        )
        self._took.append(took_s)
        self._crowd = self._least_crowd * (2 if self.gather_s > 5 * GATHER_S else 1)
        self._end = end
        self._entries += entries
        self.finished.update((entry.id, entry) for entry in entries)

    @staticmethod
    def _refusal(error: BaseException) -> BaseException:
        """The error for every caller once a write has failed."""
        return Fatal(str(error)) if isinstance(error, Exception) else error


class _Commit:
    """Inputs that are written together, and the futures of the tasks that wait for them."""

    __slots__ = ("_ready", "_waiting", "outcomes", "settled")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.outcomes: list[tuple[Entry, Sequence[bytes]]] = []
        self.settled: asyncio.Future[None] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, entry: Entry, rows: Sequence[bytes]) -> asyncio.Future[None]:
        """Add one input. The future is done when the batch is on disk, or when its write has failed."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outcomes.append((entry, rows))
        self._waiting.append(written)
        return written

    async def gather(self, *, until: float) -> None:
        """Wait for more inputs until the loop's time `until`, or until `be_ready` is called."""
        loop = asyncio.get_running_loop()
        if until > loop.time():
            timer = loop.call_at(until, self.be_ready)
            await self._ready
            timer.cancel()

    def be_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def settle(self) -> None:
        """Wake every task that waits and was not cancelled."""
        for future in (self.settled, *self._waiting):
            if not future.done():
                future.set_result(None)


def _append_synced(files: Iterable[tuple[FileIO, bytes]]) -> float:
    """Append to the files in turn, each synced before the next; returns the seconds it took; blocks."""
    begun = time.perf_counter()
    for file, data in files:
        append_synced(file, data)
    return time.perf_counter() - begun


_commit_in_thread = aiofiles.os.wrap(_append_synced)


async def _commit(files: Iterable[tuple[Any, bytes]]) -> float:
    """Append to files of aiofiles in one thread call: four calls cost more time than the disk. Returns its seconds."""
    took_s: float = await _commit_in_thread([(_raw(file), data) for file, data in files])
    return took_s


def _raw(file: Any) -> FileIO:
    """The file that one of aiofiles wraps, to be used in a thread."""
    raw: FileIO = file._file
    return raw
