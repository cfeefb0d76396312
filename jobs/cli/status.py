"""`gristmill status`: the state of each job, how much is left, and what failed: counts by kind, then some of each kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.requests import Usage
from jobs.cli.batches import batch_lines
from jobs.cli.failed import failure_page, kind_lines, listed
from jobs.config.generation import Ask
from jobs.curation.curate import rejections
from jobs.generation.worth_asking import worth_asking
from jobs.report.collect import JobState, job_state, job_states
from jobs.report.failure_list import failures, job_failures, jobs_made, naming_papers
from jobs.report.html import duration
from jobs.report.remaining import Expected, Pace, expected, read_figures, read_paces, seconds_left
from jobs.report.text_coverage import read_papers, text_coverage
from jobs.review.figures import review_figures, sentence
from jobs.run.batches import by_state, live, read_batches
from jobs.run.folder import RunFolder, beginning
from jobs.run.own_jobs import own_in

__all__ = ["print_status"]


def print_status(folder: RunFolder, *, as_json: bool, kind: str | None = None) -> None:
    """Print the figures of each job and its failures, for people or as one JSON object.

    With `kind` only the failures of that kind, all of them, each with what was answered. Raises `BadInput` for a kind
    that nothing failed with.
    """
    datasets, own = folder.datasets(), own_in(folder)
    states = [*job_states(datasets), *(job_state(job, dataset) for job, dataset in own.items())]
    if kind is not None:
        _check_kind(kind, states)
    found = chain(failures(datasets, kind), *(job_failures(job, dataset, kind) for job, dataset in own.items()))
    named = naming_papers(found, datasets["papers"])
    if as_json:
        status = {} if kind is not None else _figures(folder, datasets, states)
        status["failures"] = list(named)
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(status), indent=2).decode() + "\n")
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if kind is None:
        _print_progress(console, folder, datasets, states)
        _print_lines(console, kind_lines(folder.path, states), failure_page(named))
    else:
        for failure in named:
            _print_lines(console, listed(failure))


def _check_kind(kind: str, states: Sequence[JobState]) -> None:
    kinds = sorted({kind for state in states for kind in state.failures})
    if kind not in kinds:
        raise BadInput(f"no record failed with {kind!r}; the kinds are: {', '.join(kinds) or 'none, nothing failed'}")


def _print_lines(console: Console, *parts: Iterator[str]) -> None:
    for line in chain(*parts):
        console.print(Text(line))  # a file may be named so that a terminal takes its name for a command


def _figures(folder: RunFolder, datasets: Mapping[str, Dataset[Any]], states: Sequence[JobState]) -> dict[str, Any]:
    worth = worth_asking(folder.config().ask if folder.exists else Ask())
    read = list(read_papers(datasets["chunks"].rows(), worth))
    text = text_coverage(read)
    totals = _totals(datasets, states)
    batches = read_batches(folder.batches)
    left = None if live(batches) else seconds_left(totals, _paces(folder, datasets, states))
    return {
        "run": str(folder.path),
        "papers": sum(seal.rows for seal in datasets["papers"].seals()),
        "working": folder.worker() is not None,
        "seconds_left": None if left is None else round(left),
        "jobs": [
            msgspec.to_builtins(state) | {"total": totals[state.job][1].total if state.job in totals else state.inputs}
            for state in states
        ],
        "text": {**msgspec.structs.asdict(text), "read": read},
        "preflight": folder.preflight_usage(),
        "rejected": rejections(datasets["curated"]),
        "reviewed": review_figures(folder, datasets),
        "batches": by_state(batches),
    }


def _print_progress(
    console: Console, folder: RunFolder, datasets: Mapping[str, Dataset[Any]], states: Sequence[JobState]
) -> None:
    papers = sum(seal.rows for seal in datasets["papers"].seals())
    begun = "pairs from a file" if beginning(datasets) == "pairs" else f"{papers:,} paper{'s' * (papers != 1)}"
    totals = _totals(datasets, states)
    unfinished = [job for job, (state, found) in totals.items() if state.open or found.total != state.inputs]
    process = folder.worker()
    idle = (
        "no process works on it" if unfinished or not any(state.inputs for state in states) else "all its jobs are done"
    )
    console.print(f"{folder.path}: {begun}; {f'process {process} works on it' if process else idle}")
    console.print(_table(states, totals, folder.preflight_usage()))
    batches = read_batches(folder.batches)
    for line in batch_lines(batches):
        console.print(line)
    # A batch's rows come all at once, whenever the provider likes: no pace says when.
    left = None if live(batches) else seconds_left(totals, _paces(folder, datasets, states))
    if process and left is not None:
        console.print(f"about {duration(left)} left at the pace of now, by the slowest of the jobs that have begun")
    elif unfinished and not process:
        console.print("run the same command again to go on")
    if refused := rejections(datasets["curated"]):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in refused.items())
        console.print(f"curate refused {sum(refused.values()):,} pairs, which stay in curated/: {reasons}")
    if reviews := sentence(review_figures(folder, datasets)):
        console.print(reviews)


def _totals(datasets: Mapping[str, Dataset[Any]], states: Sequence[JobState]) -> dict[str, tuple[JobState, Expected]]:
    """Each of our jobs with the inputs that it has in all; a user's own jobs tell none."""
    names = {job.name: dataset.name for job, dataset in jobs_made(datasets).items()}
    found = expected(states, read_figures(datasets), names)
    return {state.job: (state, found[state.job]) for state in states if state.job in found}


def _paces(folder: RunFolder, datasets: Mapping[str, Dataset[Any]], states: Sequence[JobState]) -> dict[str, Pace]:
    opened = {
        job.name: sum(1 for shard in dataset.unsealed() for entry in shard.peek() if entry.id)
        for job, dataset in jobs_made(datasets).items()
    }
    return read_paces(folder.log, states, datetime.now(UTC), opened)


def _table(states: Sequence[JobState], totals: Mapping[str, tuple[JobState, Expected]], preflight: Usage) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("job")
    parts = [name for name in _PARTS if any(map(_PARTS[name], (state.usage for state in states)))]
    for name in ("done", "shards", "rows", "failed", "requests", "tokens", *parts, "cost"):
        table.add_column(name, justify="right")
    for state in states:
        table.add_row(
            Text(state.job),
            _done(state, totals[state.job][1] if state.job in totals else None),
            f"{state.sealed}" + (f" + {state.open} open" if state.open else ""),
            f"{state.rows:,}",
            f"{sum(state.failures.values()):,}",
            *_cost(state.usage, parts),
        )
    if preflight.requests:
        table.add_row("preflight", "", "", "", "", *_cost(preflight, parts))
    return table


def _done(state: JobState, found: Expected | None) -> str:
    """ "3/3", "3/≈12" where the whole is estimated, "3" where it is not known."""
    if found is None or found.total is None:
        return f"{state.inputs:,}"
    return f"{state.inputs:,}/{'' if found.exact else '≈'}{found.total:,}"


def _cost(usage: Usage, parts: list[str]) -> list[str]:
    return [
        f"{usage.requests:,}",
        f"{usage.prompt_tokens + usage.completion_tokens:,}",
        *(_PARTS[name](usage) for name in parts),
        f"${usage.cost_usd:.4f}" if usage.cost_usd else "",
    ]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if part and whole else ""


_PARTS: dict[str, Callable[[Usage], str]] = {
    "cached": lambda usage: _share(usage.cached_tokens, usage.prompt_tokens),
    "thoughts": lambda usage: _share(usage.reasoning_tokens, usage.completion_tokens),
}
"""Columns for the share of prompt tokens from a provider's cache, and of answer tokens that were reasoning."""
