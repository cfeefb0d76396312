"""The progress of a run: a live table on a terminal; elsewhere a plain line per job from time to time.

It is a hook: it receives events and does not call the engine.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.events import (
    AttemptFailed,
    BatchChanged,
    Event,
    InputDone,
    InputFailed,
    Note,
)
from jobs.cli.batch_progress import Batched, BatchProgress
from jobs.cli.durations import clock
from jobs.run.counts import Counts, JobCounts
from jobs.run.outside_text import visible
from jobs.tuning.events import FinetuneProgress, TrainingStep

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

__all__ = ["Progress"]

_PLAIN_EVERY_S = 10.0
_RATE_OVER_S = 30.0
_LONG_WAIT_S = 2.0
_BATCHES_EVERY_S = 600.0
_QUIET_S = 60.0
_ONLY_BATCHES = (
    "nothing but batches is waited for, which may take as long as their window; Ctrl-C leaves them at the provider, and "
    "the same command goes on with them"
)


@dataclass(slots=True)
class _JobLine:
    """The line of one job: its figures, its rate, and what it waits for."""

    counts: JobCounts
    batched: bool = False
    trouble: str = ""
    trouble_shown_at: float = -math.inf
    training: TrainingStep | None = None
    validation: str = ""
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, now: float) -> None:
        self.trouble = ""
        self.recent.append((now, self.counts.worked))
        while self.recent[0][0] < now - _RATE_OVER_S:
            self.recent.popleft()

    def train(self, event: TrainingStep) -> None:
        self.training = event
        if event.val is not None:
            self.validation = f", validation loss {event.val:.3f}"
        self.trouble = f"loss {event.train:.3f}{self.validation}"

    @property
    def done(self) -> int:
        return self.training.step if self.training else self.counts.done

    @property
    def total(self) -> int:
        return self.training.steps if self.training else self.counts.total

    @property
    def shown(self) -> bool:
        return bool(self.total) or self.counts.state == "works"

    def per_second(self, now: float) -> float:
        if not self.recent:
            return 0.0
        start, before = self.recent[0]
        return (self.counts.worked - before + 1) / max(now - start, 1.0)

    def left_s(self, now: float) -> float | None:
        """Seconds at the rate of now; None where nothing tells them, as where answers come in batches, all at once."""
        if self.counts.state != "works" or self.batched:
            return None
        if self.training:
            return self.training.left_s
        rate = self.per_second(now)
        return (self.total - self.done) / rate if rate else None


class Progress:
    """Counts events by job, and shows them between `showing` and its end."""

    def __init__(self, console: Console, jobs: Iterable[str] = (), asked: Batched | None = None) -> None:
        """`asked` says what is asked in batches."""
        self._console = console
        self._counts = Counts(jobs)
        self._batches = BatchProgress(asked or Batched())
        self._lines = {job: self._line(job) for job in self._counts.jobs}
        self._shown_at = 0.0
        self._batches_shown_at = -math.inf
        self._busy_at = time.monotonic()
        self._told_to_wait = False

    def __call__(self, event: Event) -> None:
        self._counts(event)
        if isinstance(event, BatchChanged):
            if self._batches.add(event):
                self._print_batches(every_s=_PLAIN_EVERY_S)
            return
        self._busy_at = time.monotonic()
        line = self._lines.setdefault(event.job, self._line(event.job))
        match event:
            case InputDone() | InputFailed():
                line.advance(time.monotonic())
            case AttemptFailed():
                self._show_wait(event, line)
            case Note():
                self._console.print(f"{event.job}: {event.text}", highlight=False, markup=False)
            case FinetuneProgress():
                line.trouble = f"{event.status} {event.message}".strip()
                self._console.print(f"{event.job}: {line.trouble}", highlight=False, markup=False)
            case TrainingStep():
                line.train(event)
        if not self._console.is_terminal:
            self._print_plainly()

    def _line(self, job: str) -> _JobLine:
        return _JobLine(self._counts.jobs[job], batched=self._batches.takes_part(job))

    def tick(self) -> None:
        """Called every few seconds: batches that only wait send no events. Once that all waits it is said, and how to leave."""
        if not self._batches.any:
            return
        self._print_batches(every_s=_BATCHES_EVERY_S)
        if not self._told_to_wait and time.monotonic() - self._busy_at >= _QUIET_S:
            self._told_to_wait = True
            self._console.print(_ONLY_BATCHES, highlight=False, markup=False)

    def _print_batches(self, *, every_s: float) -> None:
        """Without a table, a line for each state of batches, unless there was one in the last `every_s` seconds."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._batches_shown_at >= every_s:
            self._batches_shown_at = now
            for line in self._batches.lines():
                self._console.print(f"batches: {line}", highlight=False, markup=False)

    def _show_wait(self, event: AttemptFailed, line: _JobLine) -> None:
        """Show a wait with its job; print a long one at once, so that the user sees why the run pauses."""
        line.trouble = f"{event.kind}: again in {event.wait_s:.0f} s"
        now = time.monotonic()
        if event.wait_s >= _LONG_WAIT_S and now - line.trouble_shown_at >= _PLAIN_EVERY_S:
            line.trouble_shown_at = now
            reason = visible(event.reason)  # as the server says it
            self._console.print(f"{event.job}: {reason}; {line.trouble}", highlight=False, markup=False)

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Call `tick` now and then inside the block, which must run on an event loop."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def again() -> None:
            nonlocal timer
            self.tick()
            timer = loop.call_later(_PLAIN_EVERY_S, again)

        again()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show progress inside the block; the last state stays on the screen."""
        if not self._console.is_terminal:
            yield
            self._print_plainly(last=True)
            return
        from rich.live import Live

        with Live(get_renderable=self._screen, console=self._console, refresh_per_second=4, transient=False):
            yield

    def _print_plainly(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown_at < _PLAIN_EVERY_S:
            return
        self._shown_at = now
        for job, line in self._lines.items():
            if line.total and (last or line.counts.state == "works"):
                self._console.print(f"{job}: {', '.join(_words(self._cells(job, now)))}", highlight=False, markup=False)

    def _screen(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), *map(Text, self._batches.lines()))

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
            if line.shown:
                table.add_row(job, *map(Text, self._cells(job, now)))  # what a provider says is no markup
        return table

    def _cells(self, job: str, now: float) -> list[str]:
        line = self._lines[job]
        counts, left = line.counts, line.left_s(now)
        tokens = counts.usage.prompt_tokens + counts.usage.completion_tokens
        return [
            f"{line.done}/{line.total}" if line.total else "",
            f"{line.per_second(now):.1f}/s" if counts.state == "works" and line.recent else "",
            str(counts.failed) if counts.failed else "",
            f"{tokens:,}" if tokens else "",
            f"${counts.usage.cost_usd:.4f}" if counts.usage.cost_usd else "",
            clock(left) if left is not None else "",
            line.trouble or self._state(job, line),
        ]

    def _state(self, job: str, line: _JobLine) -> str:
        counts = line.counts
        state = "waits" if counts.state == "works" and not line.total else counts.state
        if counts.state == "works" and self._batches.waits(job):
            state = "waits for batches"
        return f"{state}, {counts.dropped_rows} rows dropped" if counts.dropped_rows else state


def _words(cells: list[str]) -> list[str]:
    done, rate, failed, tokens, cost, left, note = cells
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
