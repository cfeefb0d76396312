"""What `gristmill bench` has found: the structure of its JSON, and how it reads on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import tomli_w

from jobs.capacity import Capacity, Load, Loop, Percentiles
from jobs.columns import print_columns

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Findings", "errors_in_words", "level", "print_findings", "snippet"]


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a benchmark, as `--json` writes it; times are in seconds, and what a field of a load means stands at `Load`.

    ``capacity`` is None where nothing was answered; ``stopped`` says that it was ended before all loads were measured.
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


def snippet(findings: Findings) -> str:
    """The recommended settings as TOML; "" where nothing was answered."""
    if findings.capacity is None:
        return ""
    return tomli_w.dumps({"models": {findings.role: msgspec.to_builtins(findings.capacity.settings)}})


def print_findings(findings: Findings, console: Console) -> None:
    """The table of loads, the knee, and the settings to copy."""
    heads = ["in flight" if findings.loop == "closed" else "offered/s", "answers/s", "tokens/s in", "tokens/s out"]
    heads += ["latency p50", "p90", "p99"]
    heads += ["first token p50", "p99"] if findings.streamed else []
    lines = [list(_cells(load, streamed=findings.streamed)) for load in findings.loads]
    print_columns([*heads, "429s", "errors"], lines, console, numbers=True)
    for text in _notes(findings):
        console.out(text, highlight=False)
    if findings.capacity is not None:
        console.out(f"\n{snippet(findings)}", end="", highlight=False)


def _cells(load: Load, *, streamed: bool) -> Iterator[str]:
    yield f"{load.level:g}"
    yield f"{load.answers_per_second:,.1f}"
    yield f"{load.input_tokens_per_second:,.0f}"
    yield f"{load.output_tokens_per_second:,.0f}"
    yield from _times(load.latency, "p50", "p90", "p99")
    if streamed:
        yield from _times(load.first_token, "p50", "p99")
    yield f"{load.errors.get('rate_limited', 0):,}"
    yield errors_in_words(load)


def _times(found: Percentiles | None, *names: str) -> Iterator[str]:
    for name in names:
        yield "–" if found is None else f"{getattr(found, name):.3f} s"


def errors_in_words(load: Load) -> str:
    """Errors by kind, without those of status 429: "3 server_error, 1 timeout"."""
    return ", ".join(f"{count:,} {kind}" for kind, count in load.errors.items() if kind != "rate_limited")


def _notes(findings: Findings) -> Iterator[str]:
    if findings.stopped:
        yield "stopped before all loads were measured"
    late = max((load.late_p99_s for load in findings.loads), default=0.0)
    if late > _LATE_S:
        yield f"this machine sent up to {late:.2f} s too late (p99): it is part of what was measured"
    if findings.capacity is None:
        return
    yield f"knee: {level(findings.loop, findings.capacity.knee)}, the most answers a second for their latency"
    most = "the least load that gives 95 % of the most answers a second"
    yield f"saturation: {level(findings.loop, findings.capacity.saturation)}, {most}"
    if findings.capacity.grew:
        yield "answers a second still grew at the highest load: measure higher ones"


_LATE_S = 0.05
