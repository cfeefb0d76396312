from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.report.remaining import Pace
from jobs.serve.heard import Heard
from jobs.serve.log_tail import Said

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
AT = BEGAN.timestamp()


def said(event: str, after_s: float = 0.0, *, job: str = "ask", **fields: Any) -> Said:
    return Said(time=BEGAN + timedelta(seconds=after_s), event=f"gristmill.{event}", job=job, **fields)


def test_a_wait_has_its_reason_until_it_ends() -> None:
    """A job pauses from a failed attempt to the next; the page counts the seconds down."""
    heard = Heard()
    happened = list(heard.hear([said("attempt.failed", kind="overloaded", reason="503: busy", wait_s=20)]))
    assert [(each.what, each.text) for each in happened] == [("overloaded", "503: busy; again in 20 s")]
    assert heard.pause("ask", AT + 5) == "503: busy; again in 15 s"
    assert heard.pause("ask", AT + 20) == ""
    assert heard.pause("answer", AT) == ""


def test_the_pace_is_that_of_the_last_process() -> None:
    """What earlier processes have done is taken off, and a job that has ended took the time until then."""
    heard = Heard()
    lines = [said("job.started"), said("shard.sealed", inputs=30, found=True), said("shard.sealed", 5, inputs=10)]
    assert list(heard.hear(lines)) == []
    assert heard.pace("ask", 50, AT + 10) == Pace(inputs=20, seconds=10)
    assert list(heard.hear([said("job.finished", 8)])) == []
    assert heard.pace("ask", 50, AT + 99) == Pace(inputs=20, seconds=8)
    assert (heard.begun("ask"), heard.ended("ask"), heard.pace("answer", 0, AT)) == (True, True, None)
    assert list(heard.hear([said("job.started", 100)])) == []
    assert not heard.ended("ask")


def test_failures_and_notes_happen() -> None:
    """What a reader wants to know of is shown with its job and kind."""
    lines = [
        said("input.failed", kind="filtered", reason="refused"),
        said("note", text="a line"),
        said("finetune.progress", job="finetune", status="running", message="step 3"),
        said("training.step", job="finetune", step=3, steps=9, train=1.5),
    ]
    heard = Heard()
    assert [(each.job, each.what, each.text) for each in heard.hear(lines)] == [
        ("ask", "filtered", "refused"),
        ("ask", "note", "a line"),
        ("finetune", "running", "step 3"),
    ]
    assert heard.training is not None
    assert (heard.training.step, heard.training.steps) == (3, 9)
