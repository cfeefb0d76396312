"""The dataset ``reviews/``: one file for each shard of the pairs, to which decisions are appended.

A row is on disk, with the name of its file, before `append` returns. The file is locked for that time, so rows of two
servers never mix, and a row that a killed process wrote in part is cut off by the next one. Readers take no lock: a last
line without its line feed was not saved, and is left out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from engine.errors import Fatal
from engine.files import make_folder, naming_the_disk, sync_folder
from engine.records import decode_lines, encode, make_id
from jobs.records import Review

__all__ = ["ReviewLog"]


class ReviewLog:
    """The decisions in `folder`, which need not exist. All methods block; they raise `Fatal` for a damaged file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, index: int, review: Review) -> Review:
        """Add a decision about a pair of shard `index`; when this returns, it is on disk. Returns it with its id.

        Raises `Fatal` when the disk refuses; the decision is not saved then.
        """
        path = self._path(index)
        with naming_the_disk(path):
            make_folder(self.folder)
            with path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, or with the process
                end = _whole_bytes(file)
                file.truncate(end)
                added = msgspec.structs.replace(review, id=make_id("review", index, end))
                _write(file, encode(added), end)
                sync_folder(self.folder)
        return added

    def rows(self, index: int) -> list[Review]:
        """Every decision about the pairs of shard `index`, in order, also those that were taken back.

        Raises `Fatal` for a line that is no decision.
        """
        path = self._path(index)
        with naming_the_disk(path):
            data = path.read_bytes() if path.exists() else b""
        try:
            return list(decode_lines(data[: data.rfind(b"\n") + 1], Review))
        except Fatal as error:
            raise Fatal(f"the reviews {path} are damaged ({error}); restore the file, or delete that line") from error

    def stamp(self, index: int) -> tuple[int, int] | None:
        """What changes with each decision about a pair of shard `index`; None where there is none."""
        try:
            status = self._path(index).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size

    def shards(self) -> list[int]:
        """The numbers of the shards with decisions, in order."""
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.jsonl"))

    def damage(self) -> Iterator[str]:
        """One line for each file that cannot be read."""
        for index in self.shards():
            try:
                self.rows(index)
            except Fatal as error:
                yield str(error)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.jsonl"


def _whole_bytes(file: IO[bytes]) -> int:
    """The size of the file without what a killed process left behind its last line."""
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _write(file: IO[bytes], line: bytes, end: int) -> None:
    """Append `line` behind byte `end`, and sync it; on an error the file ends where it did."""
    try:
        view = memoryview(line)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise
