"""Few events for many: what is counted comes together, failures by themselves and in their place."""

from __future__ import annotations

import pytest

from engine.cluster.counted import Counted
from engine.cluster.folding import Folded, unfolded
from engine.cluster.messages import ReportedEvent
from engine.errors import Fatal
from engine.events import Event, InputDone, InputFailed, Note, RowsDropped, ShardOpened
from engine.requests import Usage
from engine.shards import Entry, Failure

PAID = Usage(requests=1, prompt_tokens=10, completion_tokens=2, cost_usd=0.25)


def done(id_: str, job: str = "ask") -> InputDone:
    return InputDone(job=job, id=id_, rows=2, usage=PAID)


def failed(id_: str, job: str = "ask") -> InputFailed:
    return InputFailed(job=job, id=id_, kind="odd", reason="it is", usage=PAID)


def events(folded: Folded) -> list[tuple[int, Event]]:
    return [(each.shard, unfolded(each)) for each in folded.take()]


def test_successes_are_added_by_shard_and_failures_stand_among_them() -> None:
    """The breaker sees the order: what succeeded before a failure does not come after it."""
    folded = Folded()
    for event, shard in ((done("a"), 1), (done("b"), 2), (done("c"), 1), (failed("d"), 1), (done("e"), 1)):
        folded.add(event, shard)
    found = events(folded)
    assert [(shard, type(event).__name__, getattr(event, "inputs", 1)) for shard, event in found] == [
        (1, "InputDone", 2),
        (2, "InputDone", 1),
        (1, "InputFailed", 1),
        (1, "InputDone", 1),
    ]
    first = found[0][1]
    assert isinstance(first, InputDone)
    assert (first.rows, first.usage) == (4, PAID + PAID)
    assert found[2][1] == failed("d")
    assert events(folded) == []


def test_other_events_pass_as_they_are() -> None:
    """Dropped rows are added by reason; a failure of another job ends no series of this one."""
    folded = Folded()
    folded.add(RowsDropped(job="ask", reasons={"vague": 1}))
    folded.add(failed("x", job="answer"), 3)
    folded.add(RowsDropped(job="ask", reasons={"vague": 2, "duplicate": 1}))
    folded.add(Note(job="models", text="a line"))
    assert [event for _, event in events(folded)] == [
        RowsDropped(job="ask", reasons={"vague": 3, "duplicate": 1}),
        failed("x", job="answer"),
        Note(job="models", text="a line"),
    ]


def test_an_event_of_another_release() -> None:
    """One line says what to do."""
    with pytest.raises(Fatal, match="run the same release everywhere"):
        unfolded(ReportedEvent(name="Unheard", event={"job": "ask"}))


def entry(id_: str, *, error: bool = False, fence: str = "") -> Entry:
    failure = Failure(kind="odd", reason="it is") if error else None
    return Entry(
        id=id_, position=-1 if fence else 0, end=0, usage=Usage() if fence else PAID, error=failure, fence=fence
    )


def opened(done: int, failed: int, usage: Usage) -> ShardOpened:
    return ShardOpened(job="ask", shard=0, inputs=9, done=done, failed=failed, usage=usage)


def test_what_a_lost_worker_could_not_tell_is_told_for_it() -> None:
    """The journal has two successes and a failure more than were reported: they are told once."""
    told: list[Event] = []
    counted = Counted("ask", told.append)
    first = [entry("old"), entry("", fence="1")]
    counted.hand_out(first)
    counted.hear(opened(1, 0, PAID))
    counted.hear(done("a"))
    journal = [*first, entry("a"), entry("b"), entry("c"), entry("d", error=True), entry("", fence="2")]
    counted.hand_out(journal)
    counted.hear(opened(5, 1, PAID))
    counted.hand_out([*journal, entry("", fence="3")])
    assert told[:2] == [opened(1, 0, PAID), done("a")]
    assert told[2] == failed("d")
    rest = told[3]
    assert isinstance(rest, InputDone)
    assert (rest.inputs, rest.usage.requests, rest.usage.cost_usd) == (2, 2, 0.5)
    assert len(told) == 4


def test_a_worker_that_was_lost_before_it_told_anything() -> None:
    """The opening that the next one tells is as it was at first, and the rest follows it."""
    told: list[Event] = []
    counted = Counted("ask", told.append)
    counted.hand_out([entry("", fence="1")])
    counted.hand_out([entry("", fence="1"), entry("a"), entry("b", error=True), entry("", fence="2")])
    assert not told
    counted.hear(opened(2, 1, PAID + PAID))
    assert told[0] == opened(0, 0, Usage())
    assert told[1] == failed("b")
    rest = told[2]
    assert isinstance(rest, InputDone)
    assert (rest.inputs, rest.usage) == (1, PAID)
