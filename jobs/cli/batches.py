"""`gristmill batches`: the batches of a run, as its folder shows them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console

from jobs.cli.durations import duration
from jobs.report.console_columns import print_columns
from jobs.run.batches import BatchesInState, BatchView, by_state, live, read_batches
from jobs.run.folder import RunFolder
from jobs.run.outside_text import visible

__all__ = ["batch_lines", "print_batches"]

_HEADS = "batch jobs role state rows done failed age window reserved paid id reason".split()


def print_batches(folder: RunFolder, *, as_json: bool) -> None:
    """Print one line a batch, for people or as a JSON list; no key is needed, and a run may be at work meanwhile."""
    batches = read_batches(folder.batches)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(batches), indent=2).decode() + "\n")
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if not batches:
        console.print(f"{folder.path} has no batches; batch = true in the section of a model makes some")
        return
    print_columns(_HEADS, [_cells(batch) for batch in batches], console, numbers=True)
    if live(batches):
        console.print(
            "the command that began the run goes on with what is not fetched; "
            f"gristmill batches {folder.path} --cancel ends it at the provider"
        )


def batch_lines(batches: Sequence[BatchView]) -> list[str]:
    """One line for each state of batches: how many, their rows, and the age of the oldest beside the window."""
    return [_line(state) for state in by_state(batches)]


def _line(found: BatchesInState) -> str:
    count = "1 batch" if found.batches == 1 else f"{found.batches:,} batches"
    failed = f", {found.failed:,} of them failed" if found.failed else ""
    age = f"; the oldest {duration(found.oldest_s)} of {duration(found.window_s)}" if found.live else ""
    return f"{count} {found.state}: {found.done + found.failed:,} of {found.rows:,} rows{failed}{age}"


def _cells(batch: BatchView) -> list[str]:
    cells = [
        f"{batch.number}",
        ", ".join(batch.jobs),
        batch.role,
        batch.state,
        f"{batch.rows:,}",
        f"{batch.done:,}",
        f"{batch.failed:,}" if batch.failed else "",
        duration(batch.age_s),
        duration(batch.window_s),
        f"${batch.reserved_usd:.4f}" if batch.reserved_usd else "",
        f"${batch.paid_usd:.4f}" if batch.paid_usd else "",
        batch.id,
        batch.reason,
    ]
    return [visible(cell) for cell in cells]
