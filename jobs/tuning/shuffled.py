"""Rows of each side in the order of ``hash(seed, id)``: a shuffle that depends only on the rows and the seed.

Two machines, or two runs that were killed at different times, get the same order. It is an external sort: one batch of
rows is in memory, the others are sorted in temporary files, so memory is bounded.
"""

from __future__ import annotations

import contextlib
import heapq
import tempfile
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from engine.errors import Fatal
from engine.records import encode, make_id
from jobs.records import Example, Pair

__all__ = ["SIDES", "shuffled"]

SIDES = ("train", "val")

BATCH_BYTES = 64 << 20  # rows sorted in memory at a time
MAX_FILES = 128  # open temporary files; at this number they are merged into one

_KEY = 33  # the side, and the length of make_id

R = TypeVar("R", Example, Pair)


def shuffled(rows: Iterable[R], kind: type[R], seed: int, folder: Path) -> Generator[R, None, None]:
    """All training rows, then all validation rows, each in seeded order, through temporary files in `folder`.

    Raises `Fatal` for a row whose split is neither train nor val.
    """
    decoder = msgspec.json.Decoder(kind)
    with contextlib.ExitStack() as stack:
        files: list[IO[bytes]] = []
        batch: list[bytes] = []
        size = 0
        for row in rows:
            line = _key(row, seed) + encode(row)
            batch.append(line)
            size += len(line)
            if size >= BATCH_BYTES:
                files.append(stack.enter_context(_spill(sorted(batch), folder)))
                batch.clear()
                size = 0
            if len(files) == MAX_FILES:
                merged = stack.enter_context(_spill(heapq.merge(*files), folder))
                for file in files:
                    file.close()
                files = [merged]
        batch.sort()
        for line in heapq.merge(*files, batch):
            yield decoder.decode(line[_KEY:])


def _key(row: Example | Pair, seed: int) -> bytes:
    if row.split not in SIDES:
        raise Fatal(f"{row.id} has the split {row.split!r}, neither train nor val; redo its dataset")
    return f"{SIDES.index(row.split)}{make_id(seed, row.id)}".encode()


def _spill(lines: Iterable[bytes], folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller's exit stack closes it
    file.writelines(lines)
    file.seek(0)
    return file
