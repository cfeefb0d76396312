from __future__ import annotations

from engine.events import (
    AttemptFailed,
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
from jobs.run.counts import Counts, JobCounts
from jobs.tuning.events import TrainingStep

PAID = Usage(requests=1, prompt_tokens=10, completion_tokens=2, cost_usd=0.5)


def test_events_add_up() -> None:
    """Shards of this session and of earlier ones, inputs done, failed and dropped are counted by job."""
    counts = Counts(["parse"])
    for event in (
        JobStarted(job="ask"),
        ShardSealed(job="ask", shard=0, inputs=4, rows=8, failed=1, usage=PAID, found=True),
        ShardOpened(job="ask", shard=1, inputs=6, done=2, failed=1, usage=PAID),
        InputDone(job="ask", id="a", rows=2, usage=PAID),
        InputFailed(job="ask", id="b", kind="truncated", reason="cut", usage=PAID),
        InputDropped(job="ask", id="a", kind="duplicate", reason="again"),
        RowsDropped(job="ask", reasons={"too short": 2}),
        AttemptFailed(job="ask", kind="timeout", reason="", attempt=1, wait_s=1),
        Note(job="ask", text="a note"),
        ShardSealed(job="ask", shard=1, inputs=6, rows=9, failed=3, usage=PAID),
        JobFinished(job="ask"),
    ):
        counts(event)
    usage = Usage(requests=4, prompt_tokens=40, completion_tokens=8, cost_usd=2.0)
    assert counts.jobs == {
        "parse": JobCounts(),
        "ask": JobCounts(done=8, total=10, failed=4, worked=2, dropped_rows=2, usage=usage, state="done"),
    }
    assert (counts.worked, counts.failed) == (2, 4)


def test_what_was_there_before_is_not_work() -> None:
    """Inputs that earlier sessions finished are done, and are no work of this one."""
    counts = Counts()
    counts(ShardOpened(job="ask", shard=0, inputs=6, done=5, failed=2, usage=PAID))
    assert (counts.worked, counts.failed) == (0, 2)


def test_a_training_is_work() -> None:
    """A session that only trains has worked."""
    counts = Counts()
    counts(TrainingStep(job="finetune", step=1, steps=2, train=1.0, val=None, left_s=1.0))
    assert counts.worked == 1
