"""The batches of a run as its folder shows them: for the terminal, `status`, `gristmill batches` and the report.

Only files are read, so it needs no key, and may be done beside a running process.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from engine.batches.record import BatchRecord, read_records

__all__ = ["BatchFolder", "BatchView", "BatchesInState", "by_state", "live", "read_batches", "state_word"]


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """One batch: its number in the run, its id at the provider ("" before it is created), the role and jobs that ask.

    ``state`` is "unsent" before the provider has it, then the provider's word, and "fetched" once its results are here.
    Of its ``rows`` the provider has answered ``done``, and ``failed`` in vain. ``age_s`` is the time since its creation,
    up to its end. ``window_s`` is the time that the provider has. Dollars are those ``reserved_usd`` at the batch price
    for rows that are not here, and those ``paid_usd`` for rows that are. ``reason`` says why it ended without some rows.
    """

    number: int
    id: str
    role: str
    jobs: list[str]
    state: str
    live: bool
    rows: int
    done: int
    failed: int
    age_s: float
    window_s: float
    reserved_usd: float = 0.0
    paid_usd: float = 0.0
    reason: str = ""


class BatchesInState(msgspec.Struct, frozen=True, kw_only=True):
    """The batches of one state: how many, their rows, the greatest age and window, and dollars."""

    state: str
    live: bool
    batches: int
    rows: int
    done: int
    failed: int
    oldest_s: float
    window_s: float
    reserved_usd: float
    paid_usd: float


class BatchFolder:
    """The batches in a folder for who looks often: files are read only after something in the folder has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = 0
        self._records: list[BatchRecord] = []

    def live(self) -> list[BatchView]:
        """The batches whose results are not here yet; blocks. Raises `Fatal` for a damaged file."""
        stamp = self._folder.stat().st_mtime_ns if self._folder.is_dir() else 0
        # A change within one tick of the file system's clock leaves the stamp as it is, so a fresh one says nothing.
        if stamp != self._stamp or time.time_ns() - stamp < 2_000_000_000:
            self._stamp, self._records = stamp, read_records(self._folder)
        now = time.time()
        return live(_view(record, now) for record in self._records)


def read_batches(folder: Path) -> list[BatchView]:
    """The batches that lie in `folder`, by number; blocks. Raises `Fatal` for a damaged file."""
    now = time.time()
    return [_view(record, now) for record in read_records(folder)]


def live(batches: Iterable[BatchView]) -> list[BatchView]:
    """Those whose results are not here yet."""
    return [batch for batch in batches if batch.live]


def by_state(batches: Sequence[BatchView]) -> list[BatchesInState]:
    """One entry a state, in the order in which the states are first seen."""
    found: dict[str, list[BatchView]] = {}
    for batch in batches:
        found.setdefault(batch.state, []).append(batch)
    return [
        BatchesInState(
            state=state,
            live=any(batch.live for batch in these),
            batches=len(these),
            rows=sum(batch.rows for batch in these),
            done=sum(batch.done for batch in these),
            failed=sum(batch.failed for batch in these),
            oldest_s=max(batch.age_s for batch in these),
            window_s=max(batch.window_s for batch in these),
            reserved_usd=sum(batch.reserved_usd for batch in these),
            paid_usd=sum(batch.paid_usd for batch in these),
        )
        for state, these in found.items()
    ]


def _view(record: BatchRecord, now: float) -> BatchView:
    ended = record.state == "ended"
    begun = record.made_at or record.submitted_at  # by our own clock, where it is known
    return BatchView(
        number=record.number,
        id=record.batch_id,
        role=record.role,
        jobs=record.jobs,
        state=state_word(record.state, record.status),
        reason=record.reason,
        live=not ended,
        rows=record.rows,
        done=record.done,
        failed=record.failed,
        age_s=max(0.0, (record.ended_at if ended else now) - begun) if begun else 0.0,
        window_s=record.window_s,
        reserved_usd=0.0 if ended else record.reserved.cost_usd,
        paid_usd=record.paid.cost_usd,
    )


def state_word(state: str, status: str) -> str:
    """What a batch is called by the `state` of its record and the provider's last word."""
    match state:
        case "meant" | "uploaded":
            return "unsent"
        case "submitted":
            return status or "submitted"
    return "fetched" if status in ("", "completed") else status
