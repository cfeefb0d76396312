"""How long each job took, computed from the run's log of events.

A job's time is from its start to its end by the monotonic clock, summed over all process runs. Jobs run side by side
and wait for each other's shards, so the times overlap and include waiting. A process that was killed counts up to the
job's last event in the log; events that have been rotated out of the log are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

__all__ = ["job_seconds", "log_lines", "read_job_seconds"]

_STARTED = "gristmill.job.started"
_FINISHED = "gristmill.job.finished"


class _LogLine(msgspec.Struct):
    monotonic_s: float
    event: str
    job: str = ""


def read_job_seconds(log: Path) -> dict[str, float]:
    """`job_seconds` of the log at `log` and of what was rotated out of it last; blocks."""
    return job_seconds(log_lines(log))


def log_lines(log: Path) -> Iterator[bytes]:
    """The lines of the log at `log`, after those that were rotated out of it last; blocks."""
    for path in (log.with_name(f"{log.name}.1"), log):
        if path.exists():
            with path.open("rb") as file:
                yield from file


def job_seconds(lines: Iterable[bytes]) -> dict[str, float]:
    """Seconds by job or step, in the order of their first starts, from the log's lines."""
    seconds: dict[str, float] = {}
    running: dict[str, tuple[float, float]] = {}
    for line in filter(None, map(_read, lines)):
        job, now = line.job, line.monotonic_s
        if line.event == _STARTED:
            _add(seconds, job, running.pop(job, (now, now)))
            running[job] = (now, now)
        elif job in running:
            running[job] = (running[job][0], now)
            if line.event == _FINISHED:
                _add(seconds, job, running.pop(job))
    for job, span in running.items():
        _add(seconds, job, span)
    return seconds


def _add(seconds: dict[str, float], job: str, span: tuple[float, float]) -> None:
    seconds[job] = seconds.get(job, 0.0) + max(0.0, span[1] - span[0])


def _read(line: bytes) -> _LogLine | None:
    """A line of the log; None for a torn line, or one that gristmill did not write."""
    try:
        return msgspec.json.decode(line, type=_LogLine)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
