"""How much a run still has to do and how long that takes, seen from outside: from its seals, journals and log.

A job has an input for each row above it, or for the share of them that its sealed shards show; so the whole follows from
job to job, down from the papers. A job that draws a sample has as many as the share of papers in its sealed shards says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.datasets import Dataset
from jobs.report.collect import JobState
from jobs.report.job_times import log_lines

__all__ = ["Expected", "Figures", "Pace", "expected", "read_figures", "read_paces", "seconds_left"]

Figures = Mapping[int, tuple[int, int]]
"""By the number of each sealed shard of a dataset: its inputs and its rows."""

_ABOVE = {
    "parse": ("papers",),
    "ask": ("chunks",),
    "answer": ("questions",),
    "index": ("chunks",),
    "probe": ("pairs",),
    "critique": ("pairs",),
    "curate": ("pairs",),
    "augment": ("curated", "pairs"),
    "similarity": ("responses",),
    "judge": ("responses",),
    "assess": ("responses",),
}
"""The dataset whose rows become the inputs of a job, the first that is there; jobs that draw a sample have none."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a job, finished or not: None while nothing tells them. ``exact`` says that they are counted."""

    total: int | None
    exact: bool


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs that a job has finished, and the seconds that it took, in the last process of the run."""

    inputs: int
    seconds: float


def expected(
    states: Iterable[JobState], figures: Mapping[str, Figures], names: Mapping[str, str]
) -> dict[str, Expected]:
    """How many inputs each job has in all. `states` are in the order of the run, and `names` the datasets by job.

    `figures` are those of each dataset that has a folder, in the order of the run.
    """
    name, first = next(((name, each) for name, each in figures.items() if each), ("", {}))
    rows: dict[str, float] = {name: sum(made for _, made in first.values())} if first else {}
    found = {}
    for state in states:
        if state.job in names:
            above = next((each for each in _ABOVE.get(state.job, ()) if each in figures), "")
            total = _total(figures.get(names[state.job], {}), figures.get(above, {}), rows.get(above), first)
            exact = bool(first) and state.sealed == len(first) and not state.open
            whole = state.inputs if exact else None if total is None else max(round(total), state.inputs)
            found[state.job] = Expected(total=whole, exact=exact)
            if whole is not None and state.inputs:
                rows[names[state.job]] = whole * state.rows / state.inputs
    return found


def _total(mine: Figures, above: Figures, rows: float | None, first: Figures) -> float | None:
    """The inputs by the `rows` that are expected above, else by the share of papers in the sealed shards, if any are."""
    if rows is not None:
        both = mine.keys() & above.keys()
        known = sum(above[number][1] for number in both)
        return rows * (sum(mine[number][0] for number in both) / known if known else 1.0)
    part = sum(first[number][1] for number in mine if number in first)
    whole = sum(made for _, made in first.values())
    return sum(inputs for inputs, _ in mine.values()) * whole / part if part else None


def read_figures(datasets: Mapping[str, Dataset[Any]]) -> dict[str, Figures]:
    """The figures of each dataset that has a folder; blocks."""
    return {name: _figures(dataset) for name, dataset in datasets.items() if dataset.folder.exists()}


def seconds_left(totals: Mapping[str, tuple[JobState, Expected]], paces: Mapping[str, Pace]) -> float | None:
    """The time of the slowest job, since jobs run side by side; None where no unfinished job has a pace."""
    left = [
        (found.total - state.inputs) * pace.seconds / pace.inputs
        for job, (state, found) in totals.items()
        if found.total is not None and (pace := paces.get(job)) is not None and pace.inputs
    ]
    return max(left, default=None)


class _Line(msgspec.Struct):
    time: datetime
    event: str
    job: str = ""
    inputs: int = 0
    found: bool = False


def read_paces(log: Path, states: Sequence[JobState], now: datetime, open_inputs: Mapping[str, int]) -> dict[str, Pace]:
    """The pace of each job that has begun in the last process run, from the log at `log`; blocks.

    `open_inputs` are those that stand in the journals of open shards. A job that has not finished works until `now`.
    """
    begun: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    done: dict[str, int] = {}
    for line in _lines(log_lines(log)):
        match line.event:
            case "gristmill.job.started":
                begun[line.job], done[line.job] = line.time, 0
                ended.pop(line.job, None)
            case "gristmill.job.finished":
                ended[line.job] = line.time
            case "gristmill.shard.sealed" if not line.found and line.job in done:
                done[line.job] += line.inputs
    return {
        state.job: Pace(
            inputs=done[state.job] + open_inputs.get(state.job, 0),
            seconds=max(0.0, (ended.get(state.job, now) - begun[state.job]).total_seconds()),
        )
        for state in states
        if state.job in begun
    }


def _lines(lines: Iterable[bytes]) -> Iterable[_Line]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # a torn line, or one that gristmill did not write
            continue


def _figures(dataset: Dataset[Any]) -> Figures:
    """The inputs and the rows of each sealed shard."""
    seals = ((number, dataset.shard(number).seal()) for number in dataset.sealed())
    return {number: (seal.inputs, seal.rows) for number, seal in seals if seal is not None}
