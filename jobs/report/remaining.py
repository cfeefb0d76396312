"""How much a run still has to do and how long that takes, seen from outside: from its seals, journals and log.

Shard *i* of every dataset holds what came from shard *i* of the papers. So where the shard above is sealed, its rows say
how many inputs a job has, by the share that its own sealed shards show; where it is not, the share of the papers does.
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


def expected(state: JobState, figures: Mapping[str, Figures], name: str) -> Expected:
    """How many inputs the job of `state`, which writes the dataset `name`, has in all.

    `figures` are those of each dataset that has a folder, in the order of the run.
    """
    first = next((each for dataset, each in figures.items() if each or dataset == name), {})
    weights = {number: rows for number, (_, rows) in first.items()}
    if state.sealed == len(weights) and not state.open:
        return Expected(total=state.inputs, exact=True)
    mine = figures.get(name, {})
    above = next((figures[each] for each in _ABOVE.get(state.job, ()) if each in figures), {})
    known = {number: rows for number, (_, rows) in above.items()}
    both = mine.keys() & known.keys()
    rows = sum(known[number] for number in both)
    share = sum(mine[number][0] for number in both) / rows if rows else 1.0
    counted = {number: mine[number][0] if number in mine else known[number] * share for number in mine.keys() | known}
    part = sum(weights.get(number, 0) for number in counted)
    if not part:
        return Expected(total=None, exact=False)
    total = round(sum(counted.values()) * max(1.0, sum(weights.values()) / part))
    return Expected(total=max(total, state.inputs), exact=False)


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
