from __future__ import annotations

import asyncio
import io
import time

import pytest
from rich.console import Console

from engine.events import (
    AttemptFailed,
    BatchChanged,
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
from engine.virtualtime import run_virtual
from jobs.cli import progress as showing
from jobs.cli.batch_progress import batched
from jobs.cli.progress import Progress
from jobs.config import Config
from jobs.tuning.events import FinetuneProgress

PAID = Usage(requests=1, prompt_tokens=1000, completion_tokens=234, cost_usd=0.05)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


class Screen:
    """Progress on a console whose output is kept."""

    def __init__(self, *, terminal: bool = False, batch: bool = False) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=120, color_system=None, soft_wrap=True)
        models = {"generator": {"model": "m", "batch": batch, "batch_window": "24h"}}
        self.progress = Progress(self.console, ["parse", "ask"], batched(Config.model_validate({"models": models})))

    def tell(self, *events: Event) -> None:
        for event in events:
            self.progress(event)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()

    def last(self) -> list[str]:
        """What is said at the end."""
        before = len(self.lines())
        with self.progress.showing():
            pass
        return self.lines()[before:]

    def table(self) -> list[str]:
        """The live table as it stands."""
        with self.console.capture() as captured:
            self.console.print(self.progress._screen())
        return [" ".join(line.split()) for line in captured.get().splitlines()]


def opened(inputs: int, *, done: int = 0, failed: int = 0, usage: Usage | None = None) -> ShardOpened:
    return ShardOpened(job="ask", shard=0, inputs=inputs, done=done, failed=failed, usage=usage or Usage())


def done(count: int = 1) -> list[InputDone]:
    return [InputDone(job="ask", id="i", rows=2, usage=PAID)] * count


FAILED = InputFailed(job="ask", id="i", kind="truncated", reason="cut", usage=PAID)


def test_counts(clock: Clock) -> None:
    """Shards opened and found, inputs done, failed and dropped, tokens and dollars add up to one line a job."""
    screen = Screen()
    found = ShardSealed(job="ask", shard=1, inputs=4, rows=8, failed=1, usage=PAID, found=True)
    mine = ShardSealed(job="ask", shard=0, inputs=6, rows=9, failed=1, usage=PAID)
    dropped = InputDropped(job="ask", id="i", kind="duplicate", reason="again")
    screen.tell(JobStarted(job="ask"), opened(6, done=1, usage=PAID), *done(3), FAILED, found, dropped, mine)
    assert screen.last() == ["ask: 9/10, 4.0/s, 3 failed, 7,404 tokens, $0.3000, 0:00 left, works"]


def test_what_was_there_before_is_shown(clock: Clock) -> None:
    """Inputs that earlier runs finished are shown as done."""
    screen = Screen()
    screen.tell(opened(6, done=5, failed=2))
    assert screen.last() == ["ask: 5/6, 2 failed, waits"]


def test_rate_and_time_left(clock: Clock) -> None:
    """The rate is that of the last half minute, and the time left follows from it."""
    screen = Screen()
    screen.tell(JobStarted(job="ask"), opened(4000))
    for _ in range(100):
        clock.now += 1
        screen.tell(*done(2))
    line = screen.last()[-1]
    assert "200/4000, 2.1/s" in line
    assert "30:" in line
    clock.now += 300
    screen.tell(*done())
    assert ", 1.0/s, " in screen.last()[-1]


def test_hours(clock: Clock) -> None:
    """More than an hour left is shown as such."""
    screen = Screen()
    screen.tell(JobStarted(job="ask"), opened(7324), *done())
    assert "2:02:03 left" in screen.last()[-1]


def test_plain_lines_are_rare(clock: Clock) -> None:
    """Without a terminal a working job has a line every ten seconds, not one an input; at the end one a job."""
    screen = Screen()
    screen.tell(JobStarted(job="ask"), opened(1000))
    start = len(screen.lines())
    for _ in range(25):
        clock.now += 1
        screen.tell(*done(4))
    assert len(screen.lines()) - start == 2
    screen.tell(JobFinished(job="ask"))
    assert [line.split(":")[0] for line in screen.last()] == ["ask"]


def test_troubles_are_shown_until_they_pass(clock: Clock) -> None:
    """An attempt that failed is shown with the wait; the next finished input takes it away."""
    screen = Screen()
    trouble = AttemptFailed(job="ask", kind="overloaded", reason="503", attempt=1, wait_s=12.4)
    screen.tell(JobStarted(job="ask"), opened(5), trouble)
    assert screen.last()[-1].endswith("overloaded: again in 12 s")
    screen.tell(*done())
    assert screen.last()[-1].endswith("works")


def test_a_long_wait_is_told_at_once(clock: Clock) -> None:
    """A run that comes to a stand says why when it does, with the reason in full, and not for every record."""
    screen = Screen()
    screen.tell(JobStarted(job="ask"), opened(5))
    before = len(screen.lines())
    trouble = AttemptFailed(job="ask", kind="unreachable", reason="cannot connect to x", attempt=4, wait_s=12.4)
    screen.tell(trouble, trouble, trouble)
    assert screen.lines()[before:] == ["ask: cannot connect to x; unreachable: again in 12 s"]


def test_dropped_rows(clock: Clock) -> None:
    """Rows that a job made and did not keep are counted beside its state."""
    screen = Screen()
    rows = RowsDropped(job="ask", reasons={"not in the text": 2, "too short": 1})
    screen.tell(JobStarted(job="ask"), opened(5), rows, JobFinished(job="ask"))
    assert screen.last()[-1].endswith("done, 3 rows dropped")


def test_the_table(clock: Clock) -> None:
    """On a terminal the working jobs have a line each; those that wait for their turn have none."""
    screen = Screen(terminal=True)
    screen.tell(JobStarted(job="ask"), opened(10), *done(4), FAILED)
    head, *rows = screen.table()
    assert head == "job done rate failed tokens cost left"
    assert rows == ["ask 5/10 5.0/s 1 6,170 $0.2500 0:01 works"]


def test_text_from_outside_is_no_markup(clock: Clock) -> None:
    """Brackets in what a server or a path says are shown as they are, on a terminal and off it."""
    odd = "[/bold] [red]x[/red]"
    for terminal in (True, False):
        screen = Screen(terminal=terminal)
        screen.tell(Note(job="export", text=odd), JobStarted(job="ask"), opened(1))
        screen.tell(FinetuneProgress(job="ask", job_id="f", status="running", message=odd))
        assert f"export: {odd}" in screen.lines()
        assert any(odd in line for line in (screen.table() if terminal else screen.last()))


def test_a_terminal_keeps_the_last_state(clock: Clock) -> None:
    """The live table stays on the screen when it ends."""
    screen = Screen(terminal=True)
    with screen.progress.showing():
        screen.tell(JobStarted(job="ask"), opened(3), *done(3), JobFinished(job="ask"))
    assert "3/3" in screen.file.getvalue()


def changed(state: str, status: str = "", *, number: int = 1, done: int = 0, rows: int = 4000) -> BatchChanged:
    return BatchChanged(
        job="batches",
        number=number,
        role="generator",
        state=state,
        status=status,
        rows=rows,
        done=done,
        failed=0,
        made_at=time.time() - 3600,
    )


def test_batches_are_shown_by_state(clock: Clock) -> None:
    """Below the jobs stands a line for each state of batches that are not fetched; the job waits for them."""
    screen = Screen(terminal=True, batch=True)
    screen.tell(JobStarted(job="ask"), opened(4000), changed("meant"), changed("submitted", "running", done=1200))
    screen.tell(changed("submitted", "running", number=2), changed("meant", number=3, rows=7))
    _, ask, *batches = screen.table()
    assert ask == "ask 0/4000 waits for batches"
    assert batches == [
        "2 batches running: 1,200 of 8,000 rows; the oldest 1 h of 1 d",
        "1 batch unsent: 0 of 7 rows; the oldest 1 h of 1 d",
    ]
    screen.tell(*(changed("ended", "completed", number=number) for number in (1, 2, 3)), *done(2))
    assert len(screen.table()) == 2


def test_no_rate_tells_the_end_of_batches(clock: Clock) -> None:
    """Where answers come in batches no time is left by the rate of those that came all at once."""
    for batch in (False, True):
        screen = Screen(batch=batch)
        screen.tell(JobStarted(job="ask"), opened(8000), *done(4000))
        assert ("left" in screen.last()[-1]) is not batch


def test_waiting_batches_are_told_rarely(clock: Clock) -> None:
    """Without a terminal a change of state has a line; what only waits has one every ten minutes, and once says so."""
    screen = Screen(batch=True)
    screen.tell(JobStarted(job="ask"), opened(4000))
    clock.now += 20
    screen.tell(changed("submitted", "validating"))
    clock.now += 20
    screen.tell(changed("submitted", "running"))
    before = len(screen.lines())
    assert [line.split(",")[0] for line in screen.lines()[-2:]] == [
        "batches: 1 batch validating: 0 of 4",
        "batches: 1 batch running: 0 of 4",
    ]
    for _ in range(360):
        clock.now += 10
        screen.progress.tick()
    said = screen.lines()[before:]
    assert sum(line.startswith("batches: ") for line in said) == 6
    assert ["Ctrl-C leaves them at the provider" in line for line in said].count(True) == 1


def test_ticks_come_by_themselves(clock: Clock) -> None:
    """While a run works its batches are looked at every ten seconds, and no longer than that."""
    screen = Screen(batch=True)

    async def waits() -> int:
        screen.tell(changed("submitted", "running"))
        with screen.progress.ticking():
            for _ in range(20):
                clock.now += 10
                await asyncio.sleep(10)
        before = len(screen.lines())
        clock.now += 3600
        await asyncio.sleep(3600)
        return len(screen.lines()) - before

    assert run_virtual(waits()) == 0
    assert "nothing but batches is waited for" in screen.file.getvalue()


def test_periods_are_sane() -> None:
    """A plain line comes more often than the rate forgets."""
    assert showing._PLAIN_EVERY_S < showing._RATE_OVER_S
