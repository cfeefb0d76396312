"""The page of `gristmill bench --html`: one self-contained file with plots, readable on a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from jobs.bench.capacity import Load, Percentiles
from jobs.bench.findings import Findings, cells, heads, marked, notes, snippet
from jobs.report.html import rendered
from jobs.report.plots import Lines, lines

__all__ = ["bench_html"]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """A plot with its heading and the name of its vertical axis."""

    title: str
    unit: str
    lines: Lines


def bench_html(findings: Findings) -> bytes:
    """The bytes of the page."""
    return rendered(
        "bench.html.j2",
        findings=findings,
        best=max(findings.loads, key=lambda load: load.answers_per_second, default=None),
        plots=_plots(findings),
        heads=heads(findings),
        rows=[list(cells(load, streamed=findings.streamed)) for load in findings.loads],
        notes=list(notes(findings)),
        snippet=snippet(findings),
    )


def _plots(findings: Findings) -> list[Plot]:
    """Throughput and times over loads; none if there are fewer than two loads."""
    if len(findings.loads) < 2:
        return []
    throughput: dict[str, list[float | None]] = {"answered": [load.answers_per_second for load in findings.loads]}
    if findings.loop == "open":
        throughput["due"] = [load.level for load in findings.loads]
    plots = [_plot(findings, "Answers a second", "", throughput)]
    latency = _times(findings.loads, ("p50", "p90", "p99"), lambda load: load.latency)
    plots.append(_timed(findings, "Latency", latency))
    if findings.streamed:
        first = _times(findings.loads, ("p50", "p99"), lambda load: load.first_token)
        plots.append(_timed(findings, "Time to the first token", first))
    return plots


def _times(
    loads: Sequence[Load], names: Sequence[str], of: Callable[[Load], Percentiles | None]
) -> dict[str, list[float | None]]:
    return {name: [getattr(of(load), name, None) for load in loads] for name in names}


def _timed(findings: Findings, title: str, series: Mapping[str, Sequence[float | None]]) -> Plot:
    """A plot of times in milliseconds, or in seconds where there are any."""
    most = max((value for values in series.values() for value in values if value is not None), default=0.0)
    if most >= 1:
        return _plot(findings, title, "seconds", series)
    scaled = {name: [None if value is None else 1000 * value for value in values] for name, values in series.items()}
    return _plot(findings, title, "milliseconds", scaled)


def _plot(findings: Findings, title: str, unit: str, series: Mapping[str, Sequence[float | None]]) -> Plot:
    found = findings.capacity
    named = {"knee": found.knee, "saturation": found.saturation} if found else {}
    marks = {name: level for name, level in named.items() if level is not None}
    levels = [load.level for load in findings.loads]
    return Plot(
        title=title, unit=unit, lines=lines(levels, series, marks, names=[marked(load) for load in findings.loads])
    )
