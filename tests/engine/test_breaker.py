"""The breaker stops a run on a series of like failures, and on nothing else."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.breaker import Breaker
from engine.errors import Fatal
from engine.events import Event, InputDone, InputFailed
from engine.requests import Usage
from engine.signals import Stop


def failed(kind: str, job: str = "ask") -> InputFailed:
    return InputFailed(job=job, id="1", kind=kind, reason="why", usage=Usage())


def done(job: str = "ask") -> InputDone:
    return InputDone(job=job, id="1", rows=1, usage=Usage())


def told(*events: Event, spared: tuple[str, ...] = ()) -> Stop:
    stop = Stop()
    breaker = Breaker(stop, spared=spared, same_failures=3)
    for event in events:
        breaker(event)
    return stop


async def test_a_series_of_like_failures_stops_the_run() -> None:
    """The third failure of one kind in a row asks for a stop, in one line that names the kind and what to do."""
    assert not told(failed("refused"), failed("refused")).requested
    stop = told(failed("refused"), failed("refused"), failed("refused"))
    assert isinstance(stop.error, Fatal)
    assert "retry --only refused" in str(stop.error)
    assert "\n" not in str(stop.error)


async def test_a_success_or_another_kind_begins_anew() -> None:
    """Failures that are not in a row, of another kind, of another job or of a spared one stop nothing."""
    two = [failed("refused"), failed("refused")]
    assert not told(*two, done(), *two).requested
    assert not told(*two, failed("malformed"), *two).requested
    assert not told(*two, failed("refused", job="answer"), done("answer")).requested
    assert not told(*two, *two, *two, spared=("ask",)).requested


@pytest.mark.slow
@given(st.lists(st.sampled_from(["done", "a", "b"]), max_size=30))
def test_it_stops_exactly_at_the_first_series(words: list[str]) -> None:
    """For any order of outcomes: a stop if and only if three like failures stand in a row."""

    async def requested() -> bool:
        return told(*(done() if word == "done" else failed(word) for word in words)).requested

    series = any(words[i] != "done" and words[i : i + 3] == [words[i]] * 3 for i in range(len(words) - 2))
    assert asyncio.run(requested()) == series
