"""Counts what a worker has reported of one shard, so that the head can report what a lost one could not any more.

A worker reports once a second. What it has committed after its last report stands in the shard's journal, and in no event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from engine.events import Event, InputDone, InputFailed, ShardOpened
from engine.requests import Usage
from engine.shards import Entry, total

__all__ = ["Counted"]


class Counted:
    """Passes the events of one shard of `job` on to `emit`, its opening only once, and counts them."""

    def __init__(self, job: str, emit: Callable[[Event], None]) -> None:
        self._job = job
        self._emit = emit
        self._opened = False
        self._before: int | None = None  # entries that the journal had at first: no event is about them
        self._fresh: list[Entry] = []
        self._done = 0
        self._failed: set[str] = set()
        self._usage = Usage()

    def hear(self, event: Event) -> None:
        match event:
            case ShardOpened():
                if not self._opened:
                    self._opened = True
                    self._emit(self._as_at_first(event))
                    self._report_rest()
                return
            case InputDone():
                self._done += event.inputs
                self._usage += event.usage
            case InputFailed():
                self._failed.add(event.id)
                self._usage += event.usage
        self._emit(event)

    def hand_out(self, entries: Sequence[Entry]) -> None:
        """The shard is handed out, once more maybe, and its journal holds `entries`."""
        if self._before is None:
            self._before = len(entries)
        self._fresh = [entry for entry in entries[self._before :] if entry.id]
        if self._opened:
            self._report_rest()

    def _as_at_first(self, event: ShardOpened) -> ShardOpened:
        """The event, without what was committed since the first worker had the shard."""
        return msgspec.structs.replace(
            event,
            done=event.done - len(self._fresh),
            failed=event.failed - sum(entry.error is not None for entry in self._fresh),
            usage=event.usage - total(entry.usage for entry in self._fresh),
        )

    def _report_rest(self) -> None:
        """Emit what is committed and was not reported."""
        for entry in self._fresh:
            if entry.error is not None and entry.id not in self._failed:
                kind, reason = entry.error.kind, entry.error.reason
                self.hear(InputFailed(job=self._job, id=entry.id, kind=kind, reason=reason, usage=entry.usage))
        done = sum(entry.error is None for entry in self._fresh) - self._done
        if done > 0:
            usage = total(entry.usage for entry in self._fresh) - self._usage
            self.hear(InputDone(job=self._job, id="", rows=0, usage=usage, inputs=done))
