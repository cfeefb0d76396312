"""The results of a batch: put into the order of the shards when they arrive, and found again when a shard is opened."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.batches.journal import Journal, Key
from engine.batches.record import BatchRecord
from engine.errors import Fatal
from engine.files import naming_the_disk, sync_folder
from engine.requests import Usage

__all__ = ["Answers", "Row", "collect", "owed"]


_Place = tuple[int, int, int]
"""A downloaded file, and the bytes where a line of it begins and ends."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One row of results: whose it is, what it cost, and the provider's line; null where there is none."""

    id: str
    input: str
    usage: Usage
    line: msgspec.Raw


def collect(
    journal: Journal,
    record: BatchRecord,
    parts: Sequence[Path],
    custom_id: Callable[[bytes], str],
    usage: Callable[[bytes], Usage],
) -> tuple[dict[str, tuple[int, ...]], Usage]:
    """Write the results of a batch from the files `parts` that were downloaded; blocks.

    Of a row that stands there twice the first line counts; lines of unknown rows are passed over. Returns, for each shard,
    the bytes where its results begin and end, then what they cost (`owed`); and what all cost.
    """
    groups: dict[str, list[int]] = {}  # where the keys of each shard stand
    places: dict[str, _Place | None] = {}
    for at, key in journal.read_keys(record.number):
        groups.setdefault(key.group, []).append(at)
        places[key.id] = None
    _find(parts, places, custom_id)
    path, spans, paid = journal.results(record.number), dict[str, tuple[int, ...]](), Usage()
    temporary = path.with_name(f"{path.name}.tmp")
    with contextlib.ExitStack() as opened, naming_the_disk(path):
        files = [opened.enter_context(part.open("rb")) for part in parts]
        to = opened.enter_context(temporary.open("wb"))
        for group, at_bytes in groups.items():
            start, cost = to.tell(), Usage()
            for key in journal.keys_at(record.number, at_bytes):
                row = _row(key, _read(files, places[key.id]), usage)
                cost += row.usage
                to.write(msgspec.json.encode(row) + b"\n")
            spans[group] = (start, to.tell(), *_as_numbers(cost))
            paid += cost
        to.flush()
        os.fsync(to.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    return spans, paid


def _row(key: Key, line: bytes | None, usage: Callable[[bytes], Usage]) -> Row:
    if line is None:
        return Row(key.id, key.input, Usage(), msgspec.Raw(_NONE))
    return Row(key.id, key.input, usage(line), msgspec.Raw(line))


def owed(span: Sequence[int]) -> Usage:
    """What the results of one shard in a batch have cost."""
    _, _, requests, prompt, completion, billionths = span
    return Usage(requests=requests, prompt_tokens=prompt, completion_tokens=completion, cost_usd=billionths / 1e9)


def _as_numbers(usage: Usage) -> tuple[int, ...]:
    return usage.requests, usage.prompt_tokens, usage.completion_tokens, round(usage.cost_usd * 1e9)


def _find(parts: Iterable[Path], places: dict[str, _Place | None], custom_id: Callable[[bytes], str]) -> None:
    """Fill in where the first line of each row of `places` stands."""
    for number, part in enumerate(parts):
        with naming_the_disk(part), part.open("rb") as file:
            at = 0
            for line in file:
                id_ = custom_id(line)
                if places.get(id_, at) is None:
                    places[id_] = (number, at, at + len(line))
                at += len(line)


def _read(files: Sequence[BinaryIO], place: _Place | None) -> bytes | None:
    if place is None:
        return None
    number, start, end = place
    return os.pread(files[number].fileno(), end - start, start).strip()


class Answers:
    """What batches have brought for one open shard. Only the places of the answers are in memory.

    ``live`` holds the custom ids of the rows that are on their way. ``tried`` counts the rows of each record that came back.
    ``usage`` is what the rows of records that are not committed have cost.
    """

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.tried: Counter[str] = Counter()
        self.usage = Usage()
        self._places: dict[str, tuple[Path, int, int, int]] = {}

    def add_live(self, journal: Journal, record: BatchRecord, group: str) -> None:
        """The rows of a batch that has not ended; blocks."""
        self.live.update(key.id for _, key in journal.read_keys(record.number) if key.group == group)

    def add(self, journal: Journal, record: BatchRecord, group: str, committed: Iterable[str]) -> None:
        """The results of a batch that has ended; blocks. Raises `Fatal` for a damaged file."""
        path, (at, end) = journal.results(record.number), record.groups[group][:2]
        done = committed if isinstance(committed, (set, dict)) else set(committed)
        with naming_the_disk(path), path.open("rb") as file:
            file.seek(at)
            while at < end:
                line = file.readline()
                row = _decoded(line, path)
                self.tried[row.input] += 1
                if row.input not in done:
                    self.usage += row.usage
                if bytes(row.line) != _NONE:
                    self._places[row.id] = (path, at, at + len(line), record.number)
                at += len(line)

    def line(self, id_: str) -> tuple[bytes, int] | None:
        """The provider's line for a custom id, and the number of its batch; None where there is none; blocks briefly."""
        place = self._places.get(id_)
        if place is None:
            return None
        path, start, end, number = place
        with naming_the_disk(path), path.open("rb", buffering=0) as file:
            row = _decoded(os.pread(file.fileno(), end - start, start), path)
        return bytes(row.line), number


_NONE = b"null"
_rows = msgspec.json.Decoder(Row)


def _decoded(line: bytes, path: Path) -> Row:
    try:
        return _rows.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"{path} is damaged ({error}); restore it from a copy") from error
