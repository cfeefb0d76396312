"""The results of `gristmill bench`: the structure of its JSON, and its table on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import tomli_w

from jobs.bench.capacity import Capacity, Load, Loop, Percentiles
from jobs.report.console_columns import print_columns

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Findings", "cells", "heads", "level", "marked", "notes", "print_findings", "snippet"]


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All results of a benchmark, as `--json` writes them; see `Load` for its fields; times are in seconds.

    ``capacity`` is None if nothing was answered; ``stopped`` means that it was stopped before all loads were measured.
    """

    endpoint: str
    simulated: bool
    role: str
    model: str
    loop: Loop
    streamed: bool
    input_tokens: int
    max_tokens: int
    loads: list[Load]
    capacity: Capacity | None
    stopped: bool = False


def level(loop: Loop, value: float) -> str:
    """A load in words: "16 in flight", "20 requests/s"."""
    return f"{value:g} {'in flight' if loop == 'closed' else 'requests/s'}"


def marked(load: Load) -> str:
    """The level of a load, marked where errors have cost it."""
    return f"{load.level:g}{_LOST if load.lost else ''}"


def snippet(findings: Findings) -> str:
    """The recommended settings as TOML; "" if there are none."""
    if findings.capacity is None or findings.capacity.settings is None:
        return ""
    return tomli_w.dumps({"models": {findings.role: msgspec.to_builtins(findings.capacity.settings)}})


def print_findings(findings: Findings, console: Console) -> None:
    """The table of loads, the knee, and the settings to copy."""
    lines = [list(cells(load, streamed=findings.streamed)) for load in findings.loads]
    print_columns(heads(findings), lines, console, numbers=True)
    for text in notes(findings):
        console.out(text, highlight=False)
    if settings := snippet(findings):
        console.out(f"\n{settings}", end="", highlight=False)


def heads(findings: Findings) -> list[str]:
    """The headings of the columns of `cells`."""
    load = "in flight" if findings.loop == "closed" else "due/s"
    first = ["first token p50 s", "first token p99 s"] if findings.streamed else []
    times = ["latency p50 s", "latency p90 s", "latency p99 s", *first]
    return [load, "answers/s", "tokens/s in", "tokens/s out", *times, "429s", "errors"]


def cells(load: Load, *, streamed: bool) -> Iterator[str]:
    """One load as a row of the table; errors of status 429 have their own column."""
    yield marked(load)
    yield f"{load.answers_per_second:,.1f}"
    yield f"{load.input_tokens_per_second:,.0f}"
    yield f"{load.output_tokens_per_second:,.0f}"
    yield from _times(load.latency, "p50", "p90", "p99")
    if streamed:
        yield from _times(load.first_token, "p50", "p99")
    yield f"{load.errors.get('rate_limited', 0):,}"
    yield ", ".join(f"{count:,} {kind}" for kind, count in load.errors.items() if kind != "rate_limited")


def _times(found: Percentiles | None, *names: str) -> Iterator[str]:
    for name in names:
        yield "–" if found is None else f"{getattr(found, name):.3f}"


def notes(findings: Findings) -> Iterator[str]:
    """Notes on the table: where the knee is, and what limits the results."""
    if findings.stopped:
        yield "stopped before all loads were measured"
    for load in filter(lambda load: load.lost, findings.loads):
        failed = f"{load.requests - load.answers:,} of {load.requests:,} requests failed"
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in load.errors.items())
        yield f"{level(load.loop, load.level)}{_LOST}: {failed} ({kinds}), so nothing is recommended from this load"
    if any(load.answers and not load.input_tokens_per_second for load in findings.loads):
        yield "the endpoint reports no usage, so tokens are unknown"
    late = max((load.late_p99_s for load in findings.loads), default=0.0)
    if late > _LATE_S:
        yield f"this machine sent up to {late:.2f} s too late (p99): it is part of what was measured"
    if findings.loads and findings.capacity is None:
        yield "no load is left to recommend settings from: lower the load, or see why the endpoint refuses"
    if findings.capacity is not None:
        yield from _followed(findings.capacity, findings.loads[0])


def _followed(found: Capacity, lowest: Load) -> Iterator[str]:
    yield f"knee: {level(lowest.loop, found.knee)}, the most answers a second for their latency"
    if found.saturation is None:
        yield "saturation: below the lowest rate, which is too high for the endpoint: measure lower rates"
    elif lowest.loop == "closed":
        yield f"saturation: {found.saturation:g} in flight, the least that gives 95 % of the most answers a second"
    else:
        yield f"saturation: {found.saturation:g} requests/s, the most that the endpoint kept up with"
    if found.more:
        yield "the endpoint handled the highest load: higher ones may give more"
    if lowest.loop == "open" and lowest.latency and lowest.requests / lowest.level < _LATENCIES * lowest.latency.p50:
        yield f"each rate was kept for less than {_LATENCIES} latencies, too short to be sure: lengthen --seconds"


_LOST = " ✗"
_LATE_S = 0.05
_LATENCIES = 5
