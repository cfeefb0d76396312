"""A worker's events, made few before they are sent to the head.

Successes are only counted there, so those of one shard become one event with their number. Failures go one by one, in
their order among the successes: the log names them, and the breaker looks for series of them.
"""

from __future__ import annotations

from collections import Counter

import msgspec

import engine.events
from engine.cluster.messages import ReportedEvent
from engine.errors import Fatal
from engine.events import Event, InputDone, InputFailed, RowsDropped
from engine.requests import Usage

__all__ = ["Folded", "unfolded"]


class Folded:
    """Events that wait to be sent."""

    def __init__(self) -> None:
        self._waiting: list[_Fold | ReportedEvent] = []
        self._folds: dict[str, dict[object, _Fold]] = {}  # by job, those that further events may join

    def add(self, event: Event, shard: int = -1) -> None:
        """Add an event of `shard`, or of none."""
        match event:
            case InputDone():
                self._fold(event.job, shard).add(event)
            case RowsDropped():
                self._fold(event.job, shard).dropped.update(event.reasons)
            case _:
                if isinstance(event, InputFailed):
                    self._folds.pop(event.job, None)
                self._waiting.append(_reported(event, shard))

    def take(self) -> list[ReportedEvent]:
        """The events since the last call, in their order."""
        waiting, self._waiting, self._folds = self._waiting, [], {}
        return [each for one in waiting for each in ([one] if isinstance(one, ReportedEvent) else one.reported())]

    def _fold(self, job: str, shard: int) -> _Fold:
        folds = self._folds.setdefault(job, {})
        if shard not in folds:
            folds[shard] = _Fold(job, shard)
            self._waiting.append(folds[shard])
        return folds[shard]


class _Fold:
    """Successes of one shard, and rows that were dropped."""

    def __init__(self, job: str, shard: int) -> None:
        self._job = job
        self._shard = shard
        self._inputs = self._rows = 0
        self._usage = Usage()
        self.dropped = Counter[str]()

    def add(self, event: InputDone) -> None:
        self._inputs += event.inputs
        self._rows += event.rows
        self._usage += event.usage

    def reported(self) -> list[ReportedEvent]:
        events: list[Event] = []
        if self.dropped:
            events.append(RowsDropped(job=self._job, reasons=dict(self.dropped)))
        if self._inputs:
            done = InputDone(job=self._job, id="", rows=self._rows, usage=self._usage, inputs=self._inputs)
            events.append(done)
        return [_reported(event, self._shard) for event in events]


def unfolded(reported: ReportedEvent) -> Event:
    """The event that a worker has reported. Raises `Fatal` for one that is not known here."""
    kind = getattr(engine.events, reported.name, None)
    if kind is None:
        raise Fatal(f"a worker reports {reported.name}, which is not known here: run the same release everywhere")
    event: Event = msgspec.convert(reported.event, kind)
    return event


def _reported(event: Event, shard: int) -> ReportedEvent:
    return ReportedEvent(name=type(event).__name__, event=msgspec.to_builtins(event), shard=shard)
