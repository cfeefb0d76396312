"""A dataset: a folder of shards of one kind of record, and the fingerprint of what made them.

Shard *i* of every dataset holds exactly what came from shard *i* of the papers. A job follows the dataset above it,
shard by shard, as they are sealed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from engine.errors import Fatal
from engine.files import make_folder, naming_the_disk, sync_folder, write_atomic
from engine.fingerprints import Made, compared, identity_of, read_json, same
from engine.records import Record, decode_lines, encode
from engine.requests import Usage
from engine.shards import Entry, FailedInput, Failure, Seal, Shard, total
from engine.signals import Stopped

__all__ = ["SCAN", "Dataset"]

R = TypeVar("R", bound=Record)

SCAN = 256
"""How many sealed shards one thread call checks when a run resumes."""

_REMEDY = "restore it from a copy, or repeat its job with --redo"


class Dataset(Generic[R]):
    """The shards of one kind of record in `folder`, numbered from 0 without gaps once all are sealed.

    Methods that block belong in a thread. They raise `Fatal` for a damaged file and for a disk that cannot be used.
    """

    remembered = False
    """Whether its rows are what this process found when it began: another process may find others."""

    def __init__(self, folder: Path, row: type[R]) -> None:
        self.name = folder.name
        self.folder = folder
        self.row = row
        self._closed = False
        self._stopped = False
        self._announced: set[int] | None = None  # the announced shards after the first one that is not
        self._all_below = 0
        self._changed = asyncio.Event()

    def shard(self, index: int) -> Shard:
        return Shard(self.folder, index)

    def read(self, index: int) -> list[R]:
        """The rows of a sealed shard, checked against its seal; none if it is open; blocks."""
        shard = self.shard(index)
        seal = shard.seal()
        return list(decode_lines(shard.read(seal), self.row)) if seal is not None else []

    def rows(self) -> Iterator[R]:
        """Every row of every sealed shard, in order, one shard in memory at a time; blocks."""
        for index in self.sealed():
            yield from self.read(index)

    def seals(self) -> Iterator[Seal]:
        """The seals, in order; blocks."""
        for index in self.sealed():
            seal = self.shard(index).seal()
            if seal is not None:
                yield seal

    def stamp(self, index: int) -> str | None:
        """A string that changes with the rows of shard `index`, "" while it is open; blocks.

        A shard made from this one is opened again when it changes. None counts as if nobody read this dataset.
        """
        seal = self.shard(index).whole()
        if seal is None:
            return ""
        return seal.sha256 if seal.kept is msgspec.UNSET else f"{seal.sha256} {seal.kept}"

    def sealed(self) -> list[int]:
        """The numbers of the sealed shards, in order; blocks."""
        return sorted(int(path.name.split(".")[0]) for path in self.folder.glob("*.done.json"))

    def numbers(self) -> list[int]:
        """The numbers of all shards that have a file, in order; blocks."""
        return sorted({int(path.name.split(".")[0]) for path in self.folder.glob("[0-9]*.json*")})

    def settle(self) -> None:
        """Finish the seals that a crash interrupted; blocks. Only for the process that holds the run's lock."""
        for path in list(self.folder.glob("*.checkpoint.jsonl")):
            self.shard(int(path.name.split(".")[0])).settle()

    def unsealed(self) -> list[Shard]:
        """The open shards: being worked on now, or left open when the last process ended; in order; blocks."""
        numbers = sorted(int(path.name.split(".")[0]) for path in self.folder.glob("*.checkpoint.jsonl"))
        return [self.shard(number) for number in numbers if not self.shard(number).done.exists()]

    def usage(self) -> Usage:
        """What every row and failure here has cost, sealed or not; blocks."""
        journalled = (entry.usage for shard in self.unsealed() for entry in shard.peek())
        return total([*(seal.usage for seal in self.seals()), *journalled])

    def write_sealed(self, index: int, rows: Sequence[R], failures: Sequence[FailedInput] = ()) -> Seal:
        """Write a sealed shard at once, with one input for each row and each failure; blocks.

        Only for rows that cost nothing: a crash in the middle loses them.
        """
        shard = self.shard(index)
        lines = [encode(row) for row in rows]
        with naming_the_disk(shard.data):
            make_folder(self.folder)
            write_atomic(shard.checkpoint, b"")
            shard.done.unlink(missing_ok=True)
            sync_folder(self.folder)
            write_atomic(shard.data, b"".join(lines))
        ends = _running_sum(len(line) for line in lines)
        entries = [
            Entry(id=row.id, position=position, rows=1, end=end)
            for position, (row, end) in enumerate(zip(rows, ends, strict=True))
        ]
        entries += [
            Entry(
                id=failed.id,
                position=position,
                end=sum(map(len, lines)),
                error=Failure(kind=failed.kind, reason=failed.reason),
            )
            for position, failed in enumerate(failures, start=len(rows))
        ]
        return shard.write_seal(entries, {entry.id: entry.position for entry in entries}, "")

    def check(
        self,
        job: str,
        fingerprint: Mapping[str, Any],
        versions: Collection[str] = (),
        raisable: Collection[str] = (),
    ) -> str:
        """Raise `BadInput` with what changed when rows here were made under another fingerprint; blocks.

        Keys of `raisable` may have grown. Where rows differ in keys of `versions` besides, they may stay as they are, but
        none may be added: what is returned says why not. Else it is "".
        """
        path = self.folder / "job.json"
        with naming_the_disk(path):
            theirs = read_json(path, job)
            mine = identity_of(job, fingerprint)
            if same(theirs, mine) or not self._has_commits():
                return ""
        if theirs is None:
            raise Fatal(f"{path} is missing, so the settings of the rows beside it are unknown; {_REMEDY} {job}")
        return compared(job, theirs.get("fingerprint", {}), mine["fingerprint"], versions, raisable)

    def owner(self) -> str | None:
        """The name of the job that writes this dataset; None before any job has claimed it; blocks."""
        identity = read_json(self.folder / "job.json")
        return None if identity is None else str(identity.get("job"))

    def made(self) -> Made | None:
        """What the rows here were made with; None while there are none; blocks."""
        with naming_the_disk(self.folder):
            return msgspec.convert(read_json(self.folder / "job.json") or {}, Made) if self._has_commits() else None

    def claim(
        self,
        job: str,
        fingerprint: Mapping[str, Any],
        versions: Collection[str] = (),
        raisable: Collection[str] = (),
    ) -> str:
        """Record that `job` writes this dataset, so that rows of two meanings never mix; blocks.

        Raises and returns as `check` does; rows of an earlier version keep their own fingerprint.
        """
        older = self.check(job, fingerprint, versions, raisable)
        path, identity = self.folder / "job.json", identity_of(job, fingerprint)
        with naming_the_disk(self.folder):
            make_folder(self.folder)
            self._sweep()
            if not older and not same(read_json(path, job), identity):
                if (made := self.made()) is not None:
                    raised = {key: made.fingerprint.get(key) for key in sorted(raisable)}
                    identity["raised"] = [*made.raised, raised]
                write_atomic(path, msgspec.json.format(msgspec.json.encode(identity), indent=1) + b"\n")
        return older

    def discard(self) -> None:
        """Delete the dataset, for ``--redo``; blocks.

        It is renamed first, so that a crash in the middle leaves no rows without their fingerprint.
        """
        discarded = self.folder.with_name(f"{self.name}.discarded")
        with naming_the_disk(self.folder):
            if discarded.exists():
                shutil.rmtree(discarded)
            if self.folder.exists():
                self.folder.rename(discarded)
                sync_folder(self.folder.parent)
                shutil.rmtree(discarded)

    def _sweep(self) -> None:
        """Delete what workers that were taken for lost have left beside sealed shards."""
        for path in list(self.folder.glob("*.jsonl.*.tmp")):
            if self.shard(int(path.name.split(".")[0])).done.exists():
                path.unlink(missing_ok=True)

    def _has_commits(self) -> bool:
        journals_and_rows = self.folder.glob("*.jsonl")
        return any(self.folder.glob("*.done.json")) or any(path.stat().st_size for path in journals_and_rows)

    # Following: in one event loop, as shards are sealed.

    async def follow(self) -> AsyncIterator[int]:
        """Yield each shard's number, in order, as soon as it is sealed; end when the dataset is closed."""
        index = 0
        while await self.wait_sealed(index):
            yield index
            index += 1

    def known(self, index: int) -> int:
        """How many shards from `index` on may be checked now, without waiting: at most `SCAN`."""
        if self._announced is None or self._closed:
            return SCAN
        return max(0, min(SCAN, self._all_below - index))

    async def wait_sealed(self, index: int) -> bool:
        """Wait until shard `index` is sealed (True), or until it is certain that it never will be (False).

        Raises `Stopped` when the run stops first.
        """
        while True:
            changed = self._changed
            closed = self._closed
            if self._announced is not None and not closed:
                sealed = index < self._all_below or index in self._announced
            else:
                sealed = await asyncio.to_thread(self.shard(index).done.exists)
            if sealed:
                return True
            if closed:
                return False
            if self._stopped:
                raise Stopped(f"stopped while waiting for shard {index} of {self.name}")
            await changed.wait()

    def begin(self) -> None:
        """Announce that a job will check each shard and may open it again: followers wait for `notify`."""
        self._announced, self._all_below = set(), 0

    def notify(self, index: int | None = None) -> None:
        """Wake the followers because a shard was sealed; after `begin`, `index` says which."""
        if self._announced is not None and index is not None:
            self._announced.add(index)
            while self._all_below in self._announced:
                self._announced.remove(self._all_below)
                self._all_below += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Announce that no more shards will be sealed in this run of the pipeline."""
        self._closed = True
        self.notify()

    def stop(self) -> None:
        """End the followers with `Stopped`."""
        self._stopped = True
        self.notify()


def _running_sum(sizes: Iterator[int]) -> Iterator[int]:
    end = 0
    for size in sizes:
        end += size
        yield end
