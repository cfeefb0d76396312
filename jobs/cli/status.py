"""`gristmill status`: the state of each job, and every failure with its reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import groupby

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.requests import Usage
from jobs.config.generation import Ask
from jobs.curation.curate import rejections
from jobs.generation.worth_asking import worth_asking
from jobs.report.collect import JobState, failures, job_states
from jobs.report.data import Failure
from jobs.report.text_coverage import text_coverage
from jobs.run.folder import RunFolder, beginning
from jobs.run.outside_text import visible

__all__ = ["print_status"]


def print_status(folder: RunFolder, *, as_json: bool) -> None:
    """Print the figures of each job and every failure, for people or as one JSON object."""
    datasets = folder.datasets()
    states = job_states(datasets)
    papers = sum(seal.rows for seal in datasets["papers"].seals())
    refused = rejections(datasets["curated"])
    if as_json:
        text, read = text_coverage(
            datasets["chunks"].rows(), worth_asking(folder.config().ask if folder.exists else Ask())
        )
        status = {
            "run": str(folder.path),
            "papers": papers,
            "jobs": states,
            "text": {**msgspec.structs.asdict(text), "read": read},
            "preflight": folder.preflight_usage(),
            "rejected": refused,
            "failures": list(failures(datasets)),
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(status), indent=2).decode() + "\n")
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{folder.path}: {'pairs from a file' if beginning(datasets) == 'pairs' else f'{papers} papers'}", markup=False
    )
    console.print(_table(states, folder.preflight_usage()))
    if refused:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in refused.items())
        console.print(
            f"curate refused {sum(refused.values()):,} pairs, which stay in curated/: {reasons}", markup=False
        )
    for (job, kind), group in groupby(failures(datasets), key=lambda failure: (failure.job, failure.kind)):
        for failure in group:
            # A file may be named so that a terminal takes its name for a command.
            console.print(Text(f"{job} {kind}: {visible(_named(failure), 4096)}: {visible(failure.reason)}"))


def _table(states: list[JobState], preflight: Usage) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("job")
    parts = [name for name in _PARTS if any(map(_PARTS[name], (state.usage for state in states)))]
    for name in ("shards", "inputs", "rows", "failed", "requests", "tokens", *parts, "cost"):
        table.add_column(name, justify="right")
    for state in states:
        usage = state.usage
        table.add_row(
            state.job,
            f"{state.sealed}" + (f" + {state.open} open" if state.open else ""),
            f"{state.inputs:,}",
            f"{state.rows:,}",
            f"{sum(state.failures.values()):,}",
            *_cost(usage, parts),
        )
    if preflight.requests:
        table.add_row("preflight", "", "", "", "", *_cost(preflight, parts))
    return table


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


def _named(failure: Failure) -> str:
    return failure.paper or failure.id
