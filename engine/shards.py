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
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.errors import Fatal
from engine.failed_replies import read_replies, write_replies
from engine.files import cut_off, naming_the_disk, sync_folder, write_atomic
from engine.records import Record, decode_lines
from engine.requests import Usage

__all__ = ["Entry", "FailedInput", "Failure", "Seal", "Shard", "total"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an input has no rows: `kind` is one stable word for counting, `reason` is for reading."""

    kind: str
    reason: str


class FailedInput(Failure, frozen=True, kw_only=True):
    """A failure in a seal, with the id of its input."""

    id: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One checkpoint line: the input, the number of its rows, the byte where they end, their cost, or the error.

    `reply` is what was answered to an input that failed, see `engine.failed_replies`."""

    id: str
    position: int
    rows: int = 0
    end: int
    usage: Usage = Usage()
    error: Failure | None = None
    reply: str = ""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``.done.json``, which makes a shard final. ``source`` identifies what the shard was made from.

    `failures`, and `empty`, the ids of the inputs without rows, are in the order of the inputs. `kept` counts the
    former inputs whose rows stand behind all others; it is left out where there are none.
    """

    inputs: int
    rows: int
    failures: list[FailedInput]
    bytes: int
    sha256: str
    usage: Usage
    source: str = ""
    empty: list[str] = []
    kept: int | msgspec.UnsetType = msgspec.UNSET


class _Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint's last line: the shard is decided, this is its seal."""

    seal: Seal


class _Owner(msgspec.Struct, frozen=True):
    """The part of a dataset's ``job.json`` that names the job."""

    job: str


L = TypeVar("L", Entry, _Mark)

_MARK = b'{"seal":'
_GARBLED = (msgspec.DecodeError, UnicodeDecodeError)


def total(usages: Iterable[Usage]) -> Usage:
    """The sum, independent of the order: dollars are summed exactly and rounded to a billionth."""
    paid = list(usages)
    return Usage(
        requests=sum(usage.requests for usage in paid),
        prompt_tokens=sum(usage.prompt_tokens for usage in paid),
        completion_tokens=sum(usage.completion_tokens for usage in paid),
        cost_usd=round(math.fsum(usage.cost_usd for usage in paid), 9),
        cached=sum(usage.cached_tokens for usage in paid),
        cache_write=sum(usage.cache_write_tokens for usage in paid),
        reasoning=sum(usage.reasoning_tokens for usage in paid),
    )


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
        self._sorted = folder / f"{index:05d}.jsonl.tmp"

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
            entries = [self._decoded(line, Entry) for line in lines]
            if any(before.end > after.end for before, after in pairwise(entries)):
                raise Fatal(f"the checkpoint {self.checkpoint} is damaged (its rows end out of order); {self._remedy}")
            end = entries[-1].end if entries else 0
            size = self.data.stat().st_size if self.data.exists() else 0
            if size < end:
                raise Fatal(f"the shard {self.data} has {size} bytes, its checkpoint says {end}; {self._remedy}")
            cut_off(self.data, end)
            cut_off(self.checkpoint, sum(len(line) + 1 for line in lines))
            return entries

    def peek(self) -> list[Entry]:
        """The committed inputs of an open shard. Changes nothing, so another process may be working."""
        try:
            lines = self.checkpoint.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []  # sealed in the meantime
        return [self._decoded(line, Entry) for line in lines if not line.startswith(_MARK)]

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

    def committed(self, entries: Sequence[Entry], order: Mapping[str, int]) -> list[tuple[Entry, bytes]]:
        """The committed inputs that are in `order`, in that order, each with the bytes of its rows.

        If an input has several entries because it failed and was tried again, the last one counts. Raises `Fatal` when
        the file does not hold these rows.
        """
        with naming_the_disk(self.data):
            data = self.data.read_bytes()
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
            placed = self.committed(entries, order)
            digest = sha256()
            with self._sorted.open("wb") as file:
                for _, lines in placed:
                    digest.update(lines)
                    file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.data.parent)
            seal = Seal(
                inputs=len(order) - kept,
                rows=sum(entry.rows for entry, _ in placed),
                failures=[
                    FailedInput(id=entry.id, kind=entry.error.kind, reason=entry.error.reason)
                    for entry, _ in placed
                    if entry.error is not None
                ],
                bytes=sum(len(lines) for _, lines in placed),
                sha256=digest.hexdigest(),
                usage=total(entry.usage for entry in entries),
                source=source,
                empty=[entry.id for entry, _ in placed if entry.error is None and not entry.rows],
                kept=kept or msgspec.UNSET,
            )
            write_replies(self.replies, {entry.id: entry.reply for entry, _ in placed if entry.error and entry.reply})
            with self.checkpoint.open("ab") as file:
                file.write(msgspec.json.encode(_Mark(seal=seal)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._carry_out()
            return seal

    def _carry_out(self) -> Seal | None:
        """If the shard is decided, finish its seal; each step may have been done already."""
        lines = self._whole_lines() if self.checkpoint.exists() else []
        if not lines or not lines[-1].startswith(_MARK):
            return None
        seal = self._decoded(lines[-1], _Mark).seal
        if self._sorted.exists():
            self._sorted.replace(self.data)
            sync_folder(self.data.parent)
        self.read(seal)
        write_atomic(self.done, msgspec.json.format(msgspec.json.encode(seal), indent=1) + b"\n")
        self.checkpoint.unlink()
        return seal

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
