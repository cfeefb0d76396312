"""One shard: rows are appended with a journal beside them, then sealed. It is safe to kill the process at any instant.

While a shard is open, ``00000.jsonl`` holds rows in order of completion, and ``00000.checkpoint.jsonl`` one line for
each finished input. A commit appends rows, syncs them, appends checkpoint lines, syncs those. So a line in the
checkpoint means that its rows are on disk. Bytes after the last line's ``end`` are uncommitted and are cut off at the
next open.

A seal sorts the rows into the order of the inputs. The sorted rows are written to a temporary file and synced. Then one
last checkpoint line, the mark, holds the whole seal. From then on the shard is decided: the next process that opens it
finishes the remaining steps (rename the rows, write ``00000.done.json``, delete the checkpoint). Once the seal exists,
the rows are final. Before the mark, only temporary names have changed. A name is durable once its folder is synced: the
names of the rows and of the sorted rows are synced before anything that relies on them is written.

Inputs are identified by id, not by position, so a sealed shard may be opened again with more inputs.

A shard may be handed out to a worker process, here or on another machine. The process that holds the run's lock, the
head, then copies the checkpoint and the rows to new files under the same names, and ends the checkpoint with a fence: a
text that no other hand-out ever has. The worker opens the rows, then the checkpoint, reads the checkpoint through what
it has opened, and goes on only if the last fence is its own. From then on it writes to what it has opened, and to one
file whose name holds its fence: its sorted rows. The head alone renames and deletes. So a worker that was frozen, and
thaws after its shard was handed out again, writes into files that nobody sees: either it opened the old files, or it
finds another fence. The rows are opened first and copied last: who reads its fence in the checkpoint has the old rows too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from io import FileIO
from itertools import groupby, pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from engine.checkpoints import MARK, Entry, FailedInput, Failure, Mark, Seal, seal_of, total
from engine.errors import Fatal, TakenOver
from engine.failed_replies import read_replies, write_replies
from engine.files import append_synced, cut_off, naming_the_disk, sync_folder, write_atomic
from engine.records import Record, decode_lines

__all__ = ["Entry", "FailedInput", "Failure", "Seal", "Shard", "new_fence", "total"]


class _Owner(msgspec.Struct, frozen=True):
    """The part of a dataset's ``job.json`` that names the job."""

    job: str


L = TypeVar("L", Entry, Mark)

_GARBLED = (msgspec.DecodeError, UnicodeDecodeError)


def new_fence() -> str:
    """A fence that no shard was ever handed out with."""
    return token_hex(8)


class Shard:
    """The files of shard `index` of the dataset in `folder`.

    All methods block: call them in a thread. They raise `Fatal` for a damaged file and for a disk that cannot be used.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self.index = index
        self.data = folder / f"{index:05d}.jsonl"
        self.checkpoint = folder / f"{index:05d}.checkpoint.jsonl"
        self.done = folder / f"{index:05d}.done.json"
        self.replies = folder / f"{index:05d}.replies.json"

    def seal(self) -> Seal | None:
        """The seal, or None while the shard is open. Changes nothing, so another process may be working.

        Raises `Fatal` for a damaged seal.
        """
        with naming_the_disk(self.data):
            try:
                return msgspec.json.decode(self.done.read_bytes(), type=Seal)
            except FileNotFoundError:
                return None
            except _GARBLED as error:
                raise Fatal(f"the seal {self.done} is damaged ({error}); {self._remedy}") from error

    def whole(self) -> Seal | None:
        """The seal, after a check of the file's size but not of its content: a resume does this for every shard."""
        seal = self.seal()
        if seal is not None:
            with naming_the_disk(self.data):
                self._check_size(seal, self.data.stat().st_size if self.data.exists() else None)
        return seal

    def settle(self) -> Seal | None:
        """Finish the steps of a seal that a crash interrupted, then return what `whole` returns.

        Only for the process that owns this shard: no other may work on it.
        """
        with naming_the_disk(self.data):
            seal = self.whole()
            if seal is None:
                return self._carry_out()
            self.checkpoint.unlink(missing_ok=True)
            return seal

    def read(self, seal: Seal) -> bytes:
        """The sealed rows; raises `Fatal` when their checksum is not that of `seal`."""
        with naming_the_disk(self.data):
            data = self.data.read_bytes() if self.data.exists() else None
        self._check_size(seal, None if data is None else len(data))
        data = data or b""
        if sha256(data).hexdigest() != seal.sha256:
            raise Fatal(f"the shard {self.data} has changed since it was sealed (its checksum differs); {self._remedy}")
        return data

    def verify(self) -> None:
        """Raise `Fatal` unless the shard is open and readable, or sealed with the right checksum."""
        is_open = self.checkpoint.exists()  # checked first: another process may seal it in the meantime
        seal = self.seal()
        if seal is not None:
            self.read(seal)
        elif not is_open:
            raise self._lost()
        else:
            self.peek()

    def entries(self) -> list[Entry]:
        """The committed inputs, after uncommitted bytes are cut off from both files; raises `Fatal` for damaged files."""
        with naming_the_disk(self.data):
            lines = self._whole_lines()
            entries = self._entries(lines, self.data.stat().st_size if self.data.exists() else 0)
            cut_off(self.data, _end(entries))
            cut_off(self.checkpoint, sum(len(line) + 1 for line in lines))
            return entries

    def hand_out(self, fence: str) -> Seal | None:
        """Give the open shard to the worker that knows `fence`: from now on no earlier one can change it.

        Returns the seal instead if the shard is decided. Only for the process that owns it; `fence` is a part of a file's
        name, and new each time.
        """
        with naming_the_disk(self.data):
            lines = self._whole_lines()
            if lines and lines[-1].startswith(MARK):
                return self._carry_out()
            rows = self.data.read_bytes() if self.data.exists() else b""
            entries = self._entries(lines, len(rows))
            lines.append(msgspec.json.encode(Entry(id="", position=-1, end=_end(entries), fence=fence)))
            write_atomic(self.checkpoint, b"".join(line + b"\n" for line in lines))
            write_atomic(self.data, rows[: _end(entries)])
            for former in {entry.fence for entry in entries if entry.fence}:
                self._sorted(former).unlink(missing_ok=True)
            return None

    def held(self, checkpoint: FileIO, fence: str) -> list[Entry]:
        """The committed inputs in the open file `checkpoint`; raises `TakenOver` unless its last fence is `fence`."""
        with naming_the_disk(self.checkpoint):
            checkpoint.seek(0)
            lines = checkpoint.read().split(b"\n")[:-1]
        if lines and lines[-1].startswith(MARK):
            raise self.taken_over()
        entries = [self._decoded(line, Entry) for line in lines]
        if fence != next((entry.fence for entry in reversed(entries) if entry.fence), ""):
            raise self.taken_over()
        return entries

    def peek(self) -> list[Entry]:
        """The committed inputs of an open shard. Changes nothing, so another process may be working."""
        try:
            lines = self.checkpoint.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []  # sealed in the meantime
        return [self._decoded(line, Entry) for line in lines if not line.startswith(MARK)]

    def reopen(
        self,
        kind: type[Record],
        origin: Callable[[Any], str],
        again: Callable[[Failure], bool] = lambda _: False,
        flaw: Callable[[Any], Failure | None] = lambda _: None,
    ) -> None:
        """Turn a sealed shard into an open one with all its rows and its failures, except those to try `again`.

        An input with a row in which `flaw` finds a failure is a failed one.

        The seal is deleted last: a crash before that leaves the shard sealed, as it was.
        """
        seal = self.seal()
        if seal is None:
            return
        data = self.read(seal)
        entries = [Entry(id="", position=-1, end=0, usage=seal.usage)]
        entries += [Entry(id=id_, position=-1, end=0) for id_ in seal.empty]
        end = 0
        sizes = (len(line) + 1 for line in data.splitlines())
        flawed: list[tuple[str, Failure]] = []
        for id_, group in groupby(decode_lines(data, kind), key=origin):
            rows = list(group)
            end += sum(next(sizes) for _ in rows)
            entries.append(Entry(id=id_, position=-1, rows=len(rows), end=end))
            flawed += [(id_, found) for row in rows if (found := flaw(row)) is not None][:1]
        replies = read_replies(self.replies)
        for failed in seal.failures:
            if not again(failed):
                error, reply = Failure(kind=failed.kind, reason=failed.reason), replies.get(failed.id, "")
                entries.append(Entry(id=failed.id, position=-1, end=end, error=error, reply=reply))
        entries += [Entry(id=id_, position=-1, end=end, error=found) for id_, found in flawed]
        with naming_the_disk(self.data):
            write_atomic(self.checkpoint, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
            self.done.unlink()
            sync_folder(self.done.parent)

    def committed(self, data: bytes, entries: Sequence[Entry], order: Mapping[str, int]) -> list[tuple[Entry, bytes]]:
        """The committed inputs that are in `order`, in that order, each with the bytes of its rows in `data`.

        If an input has several entries because it failed and was tried again, the last one counts. Raises `Fatal` when
        `data` does not hold these rows.
        """
        start, last = 0, {}
        for entry in entries:
            if entry.id in order:
                last[entry.id] = (entry, data[start : entry.end] if entry.error is None else b"")
            start = entry.end
        placed = sorted(last.values(), key=lambda pair: order[pair[0].id])
        if any(lines.count(b"\n") != entry.rows for entry, lines in placed):
            raise Fatal(f"the shard {self.data} does not hold the rows that its checkpoint lists; {self._remedy}")
        return placed

    def write_seal(self, entries: Sequence[Entry], order: Mapping[str, int], source: str, kept: int = 0) -> Seal:
        """Sort the committed rows by `order` (input id to position), drop those of unknown inputs, and seal.

        The last `kept` inputs of `order` are former ones.
        """
        with naming_the_disk(self.data):
            placed = self.committed(self.data.read_bytes(), entries, order)
            seal = seal_of(placed, entries, inputs=len(order) - kept, source=source, kept=kept)
            with self.checkpoint.open("ab", buffering=0) as checkpoint:
                self.decide(seal, [lines for _, lines in placed], checkpoint)
            self._carry_out()
            return seal

    def decide(self, seal: Seal, rows: Sequence[bytes], checkpoint: FileIO, fence: str = "") -> None:
        """Write the sorted `rows`, then the mark to the open file `checkpoint`; `settle` finishes the seal.

        Raises `TakenOver` if the shard is not held with `fence` any more.
        """
        with naming_the_disk(self.data):
            if fence and not self._is_named(checkpoint):
                raise self.taken_over()
            with self._sorted(fence).open("wb") as file:
                file.writelines(rows)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.data.parent)
            append_synced(checkpoint, msgspec.json.encode(Mark(seal=seal, fence=fence)) + b"\n")

    def _carry_out(self) -> Seal | None:
        """If the shard is decided, finish its seal; each step may have been done already."""
        lines = self._whole_lines() if self.checkpoint.exists() else []
        if not lines or not lines[-1].startswith(MARK):
            return None
        mark = self._decoded(lines[-1], Mark)
        seal, rows = mark.seal, self._sorted(mark.fence)
        if rows.exists():
            rows.replace(self.data)
            sync_folder(self.data.parent)
        self.read(seal)
        write_replies(self.replies, self._replies(lines[:-1], seal))
        write_atomic(self.done, msgspec.json.format(msgspec.json.encode(seal), indent=1) + b"\n")
        self.checkpoint.unlink()
        return seal

    def _replies(self, lines: Sequence[bytes], seal: Seal) -> dict[str, str]:
        """What was answered to the inputs that failed, in their order, where it is known."""
        if not seal.failures:
            return {}
        replies = {entry.id: entry.reply for entry in (self._decoded(line, Entry) for line in lines)}
        return {failed.id: replies[failed.id] for failed in seal.failures if replies.get(failed.id)}

    def _sorted(self, fence: str) -> Path:
        """The name of the sorted rows until the shard is sealed."""
        return self.data.with_name(f"{self.data.name}.{fence}.tmp" if fence else f"{self.data.name}.tmp")

    def _is_named(self, checkpoint: FileIO) -> bool:
        """Whether the open file is still the one under the checkpoint's name."""
        return self.checkpoint.exists() and os.path.samestat(self.checkpoint.stat(), os.fstat(checkpoint.fileno()))

    def _entries(self, lines: Sequence[bytes], size: int) -> list[Entry]:
        """The entries in `lines`, checked against the rows, which have `size` bytes."""
        entries = [self._decoded(line, Entry) for line in lines]
        if any(before.end > after.end for before, after in pairwise(entries)):
            raise Fatal(f"the checkpoint {self.checkpoint} is damaged (its rows end out of order); {self._remedy}")
        if size < _end(entries):
            raise Fatal(f"the shard {self.data} has {size} bytes, its checkpoint says {_end(entries)}; {self._remedy}")
        return entries

    def _check_size(self, seal: Seal, size: int | None) -> None:
        if size != seal.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise Fatal(f"the shard {self.data} {found}, its seal says {seal.bytes} bytes; {self._remedy}")

    @property
    def _remedy(self) -> str:
        """What to do about a damaged file: the folder knows which job has written it, if one has."""
        try:
            job = msgspec.json.decode((self.data.parent / "job.json").read_bytes(), type=_Owner).job
        except (OSError, *_GARBLED):
            return "restore it from a copy, or repeat its job with --redo (gristmill verify lists all damaged files)"
        return f"restore it from a copy, or repeat its job with --redo {job} (gristmill verify lists all damaged files)"

    def _lost(self) -> Fatal:
        found = "has neither a seal nor a checkpoint" if self.data.exists() else "is missing, and its seal with it"
        return Fatal(f"the shard {self.data} {found}; {self._remedy}")

    def taken_over(self) -> TakenOver:
        return TakenOver(f"the shard {self.data} was handed out again, to another worker")

    def _decoded(self, line: bytes, kind: type[L]) -> L:
        try:
            return msgspec.json.decode(line, type=kind)
        except _GARBLED as error:
            raise Fatal(f"the checkpoint {self.checkpoint} is damaged ({error}); {self._remedy}") from error

    def _whole_lines(self) -> list[bytes]:
        """The checkpoint's complete lines, without their line feeds."""
        if not self.checkpoint.exists():
            if self.data.exists():
                raise self._lost()
            return []
        return self.checkpoint.read_bytes().split(b"\n")[:-1]


def _end(entries: Sequence[Entry]) -> int:
    """The byte where the committed rows end."""
    return entries[-1].end if entries else 0
