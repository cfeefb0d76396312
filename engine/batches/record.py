"""What ``RUN/batches/N.json`` keeps of one batch: enough to find it again after a kill, and to show it without a key.

A record is written whole before and after each effect at the provider, so a reader sees one of its states:
meant, uploaded (the file has an id), submitted (the batch has an id), ended (its results are in ``N.results.jsonl``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import Fatal
from engine.files import naming_the_disk, write_atomic
from engine.requests import Usage

__all__ = ["BatchRecord", "read_records", "write_record"]


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One batch: number ``number`` of the run, of ``rows`` requests of ``jobs`` to the model of ``role``.

    ``account`` is a digest of the address and the key that it belongs to. ``status`` is the provider's last word, with
    which it had answered ``done`` rows, and ``failed`` in vain. ``made_at``, ``asked_at`` (the last try to create it),
    ``submitted_at`` and ``ended_at`` are seconds since 1970, 0 for what was not yet. ``reserved`` is the most that all rows
    can cost, ``paid`` what those cost that are here. ``reason`` says why it ended without all of its rows, in one line.

    ``tokens`` is an estimate of its prompts. ``groups`` holds the shards that ask, each with the number of its rows; once
    the batch has ended those whose answers are still needed, with the bytes where these begin and end in the results.
    """

    number: int
    role: str
    jobs: list[str] = []
    account: str = ""
    window_s: float = 86_400.0
    rows: int = 0
    reserved: Usage = Usage()
    state: Literal["meant", "uploaded", "submitted", "ended"] = "meant"
    file_id: str = ""
    batch_id: str = ""
    status: str = ""
    done: int = 0
    failed: int = 0
    made_at: float = 0.0
    asked_at: float = 0.0
    submitted_at: float = 0.0
    ended_at: float = 0.0
    paid: Usage = Usage()
    reason: str = ""
    tokens: int = 0
    groups: dict[str, tuple[int, ...]] = {}


def write_record(folder: Path, record: BatchRecord) -> None:
    """Write the record of a batch into the folder of the run's batches, atomically; blocks. Raises `Fatal`."""
    path = folder / f"{record.number}.json"
    with naming_the_disk(path):
        write_atomic(path, msgspec.json.encode(record) + b"\n")


def read_records(folder: Path) -> list[BatchRecord]:
    """The records of all batches, by number; none where there is no such folder; blocks. Raises `Fatal` for a damaged one."""
    paths = [path for path in folder.glob("*.json") if path.stem.isdigit()]
    return [_read(path) for path in sorted(paths, key=lambda path: int(path.stem))]


def _read(path: Path) -> BatchRecord:
    try:
        return msgspec.json.decode(path.read_bytes(), type=BatchRecord)
    except msgspec.DecodeError as error:
        raise Fatal(
            f"{path} is damaged ({error}); restore it, or delete it: what it asked for is then asked again"
        ) from error
