"""What is committed in the open shards of a dataset: each journal is read on from where the last look ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.requests import Usage
from engine.shards import Entry, total

__all__ = ["Journals", "Tally"]


@dataclass
class Tally:
    """Inputs that are finished, the rows of them, failures by kind, and what all of it has cost."""

    inputs: int = 0
    rows: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)

    def add(self, other: Tally) -> None:
        self.inputs += other.inputs
        self.rows += other.rows
        self.failed += other.failed
        self.usage = total([self.usage, other.usage])


class Journals:
    """The journals of one dataset. Nothing is changed, so another process may be writing them."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset
        self._known: dict[int, _Journal] = {}

    def tally(self, shards: Iterable[int]) -> Tally:
        """The sum over the open shards with these numbers; blocks."""
        self._known = {index: self._known.get(index) or _Journal() for index in shards}
        found = Tally()
        for index, journal in self._known.items():
            journal.read_on(self._dataset.shard(index).checkpoint)
            found.add(journal.tally)
        return found


class _Journal:
    def __init__(self) -> None:
        self.tally = Tally()
        self._inode = 0
        self._offset = 0

    def read_on(self, path: Path) -> None:
        try:
            status = path.stat()
            if status.st_ino != self._inode or status.st_size < self._offset:  # it was opened again, or cut
                self.tally, self._inode, self._offset = Tally(), status.st_ino, 0
            if status.st_size == self._offset:
                return
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:  # sealed in the meantime
            return
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        usages = [self.tally.usage]
        for line in data.splitlines():
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except (msgspec.DecodeError, UnicodeDecodeError):  # the mark that the shard is decided
                continue
            self.tally.inputs += bool(entry.id)
            self.tally.rows += entry.rows
            self.tally.failed.update([entry.error.kind] if entry.error else [])
            usages.append(entry.usage)
        self.tally.usage = total(usages)
