"""What a run shows while it works: a live table on a terminal, a plain line a job now and then elsewhere.

A hook like any other: it is told events and asks the engine nothing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.events import (
    AttemptFailed,
    Event,
    InputDone,
    InputDropped,
    InputFailed,
    JobFinished,
    JobStarted,
    Note,
    RowsDropped,
    ShardOpened,
    ShardSealed,
)
from engine.requests import Usage
from jobs.report.html import visible
from jobs.tuning.lora.tune import TrainingStep
from jobs.tuning.openai_job import FinetuneProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Progress"]

_PLAIN_EVERY_S = 10.0
_RATE_OVER_S = 30.0
_LONG_WAIT_S = 2.0


@dataclass(slots=True)
class _Line:
    """One job's figures. `total` grows while the job above is not finished."""

    done: int = 0
    total: int = 0
    failed: int = 0
    worked: int = 0
    dropped: int = 0
    usage: Usage = field(default_factory=Usage)
    state: str = "waits"
    trouble: str = ""
    trouble_told_at: float = -math.inf
    told_left_s: float | None = None
    validation: str = ""
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, now: float) -> None:
        self.done += 1
        self.worked += 1
        self.trouble = ""
        self.recent.append((now, self.worked))
        while self.recent[0][0] < now - _RATE_OVER_S:
            self.recent.popleft()

    def train(self, event: TrainingStep) -> None:
        self.done, self.total = event.step, event.steps
        self.worked += 1
        self.told_left_s = event.left_s
        if event.val is not None:
            self.validation = f", validation loss {event.val:.3f}"
        self.trouble = f"loss {event.train:.3f}{self.validation}"

    def per_second(self, now: float) -> float:
        if not self.recent:
            return 0.0
        start, before = self.recent[0]
        return (self.worked - before + 1) / max(now - start, 1.0)

    def left_s(self, now: float) -> float | None:
        if self.state != "works":
            return None
        if self.told_left_s is not None:
            return self.told_left_s
        rate = self.per_second(now)
        return (self.total - self.done) / rate if rate else None


class Progress:
    """Counts events by job, and shows them between `showing` and its end."""

    def __init__(self, console: Console, jobs: Iterable[str] = ()) -> None:
        self._console = console
        self._lines = {job: _Line() for job in jobs}
        self._told_at = 0.0

    @property
    def worked(self) -> int:
        """Inputs that were finished in this run."""
        return sum(line.worked for line in self._lines.values())

    @property
    def failed(self) -> int:
        """Inputs that ended as failures, in this run or before."""
        return sum(line.failed for line in self._lines.values())

    def __call__(self, event: Event) -> None:
        line = self._lines.setdefault(event.job, _Line())
        match event:
            case JobStarted():
                line.state = "works"
            case JobFinished():
                line.state = "done"
            case ShardOpened():
                line.total += event.inputs
                line.done += event.done
                line.failed += event.failed
                line.usage += event.usage
            case ShardSealed(found=True):
                line.total += event.inputs
                line.done += event.inputs
                line.failed += event.failed
                line.usage += event.usage
            case InputDone() | InputFailed():
                line.advance(time.monotonic())
                line.failed += isinstance(event, InputFailed)
                line.usage += event.usage
            case InputDropped():
                line.failed += 1
            case RowsDropped():
                line.dropped += sum(event.reasons.values())
            case AttemptFailed():
                self._tell_of(event, line)
            case Note():
                self._console.print(f"{event.job}: {event.text}", highlight=False, markup=False)
            case FinetuneProgress():
                line.trouble = f"{event.status} {event.message}".strip()
                self._console.print(f"{event.job}: {line.trouble}", highlight=False, markup=False)
            case TrainingStep():
                line.train(event)
        if not self._console.is_terminal:
            self._tell_plainly()

    def _tell_of(self, event: AttemptFailed, line: _Line) -> None:
        """A wait is shown with the job; a long one is also told at once, so that a run that stands still says why."""
        line.trouble = f"{event.kind}: again in {event.wait_s:.0f} s"
        now = time.monotonic()
        if event.wait_s >= _LONG_WAIT_S and now - line.trouble_told_at >= _PLAIN_EVERY_S:
            line.trouble_told_at = now
            reason = visible(event.reason)  # as the server says it
            self._console.print(f"{event.job}: {reason}; {line.trouble}", highlight=False, markup=False)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show progress while inside; the last state stays on the screen."""
        if not self._console.is_terminal:
            yield
            self._tell_plainly(last=True)
            return
        from rich.live import Live

        with Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=False):
            yield

    def _tell_plainly(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._told_at < _PLAIN_EVERY_S:
            return
        self._told_at = now
        for job, line in self._lines.items():
            if line.total and (last or line.state == "works"):
                self._console.print(f"{job}: {', '.join(_words(line, now))}", highlight=False, markup=False)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column("job")
        for name in ("done", "rate", "failed", "tokens", "cost", "left"):
            table.add_column(name, justify="right")
        table.add_column("")
        now = time.monotonic()
        for job, line in self._lines.items():
            if line.total or line.state == "works":
                table.add_row(job, *map(Text, _cells(line, now)))  # what a provider says is no markup
        return table


def _cells(line: _Line, now: float) -> list[str]:
    left = line.left_s(now)
    tokens = line.usage.prompt_tokens + line.usage.completion_tokens
    return [
        f"{line.done}/{line.total}" if line.total else "",
        f"{line.per_second(now):.1f}/s" if line.state == "works" and line.recent else "",
        str(line.failed) if line.failed else "",
        f"{tokens:,}" if tokens else "",
        f"${line.usage.cost_usd:.4f}" if line.usage.cost_usd else "",
        _duration(left) if left is not None else "",
        line.trouble or _state(line),
    ]


def _state(line: _Line) -> str:
    state = "waits" if line.state == "works" and not line.total else line.state
    return f"{state}, {line.dropped} rows dropped" if line.dropped else state


def _words(line: _Line, now: float) -> list[str]:
    done, rate, failed, tokens, cost, left, note = _cells(line, now)
    named = [
        (done, "{}"),
        (rate, "{}"),
        (failed, "{} failed"),
        (tokens, "{} tokens"),
        (cost, "{}"),
        (left, "{} left"),
        (note, "{}"),
    ]
    return [form.format(value) for value, form in named if value]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
