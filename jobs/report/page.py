"""The report's page: `report.html`, one self-contained file, readable on a phone, in light or dark mode.

All text from a paper or a model is escaped, see `jobs.report.html`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.files import naming_the_disk, write_atomic
from jobs.report.data import METRICS, SPLITS, Comparison, ReportData, Row, cost_known, results_json, total_usage
from jobs.report.funnel import costs, funnel
from jobs.report.headline import headline
from jobs.report.html import rendered
from jobs.report.plots import axis, curve, reach, scatter_axis
from jobs.report.wording import too_few

__all__ = ["report_html", "write_report"]

LISTED_FAILURES = 20
HUES = 8
"""Colours that the style sheet has; the page makes those of further models."""


def write_report(data: ReportData, folder: Path) -> None:
    """Write `results.json` and `report.html` into `folder`, each atomically; raises `Fatal` when the disk fails."""
    with naming_the_disk(folder / "report.html"):
        write_atomic(folder / "results.json", results_json(data))
        write_atomic(folder / "report.html", report_html(data))


def report_html(data: ReportData) -> bytes:
    """The bytes of `report.html`."""
    compared = [*data.differences, *data.retrieval_effects]
    return rendered(
        "report.html.j2",
        data=data,
        metrics=METRICS,
        others=list(dict.fromkeys(metric for row in data.rows for metric in row.metrics)),
        split_names=SPLITS,
        model_order=list(dict.fromkeys(row.model for row in data.rows)),
        sides=_sides(data.rows),
        both_ways=len({row.retrieval for row in data.rows}) == 2,
        axes={metric: axis(data, metric) for metric in METRICS},
        scatter_axes={metric: scatter_axis(data, metric) for metric in METRICS},
        reaches={"differences": _reaches(data.differences), "effects": _reaches(data.retrieval_effects)},
        clear_by_chance=sum(len(each.metrics) for each in compared) / 20,
        loss_curve=curve(data.loss_curve),
        failure_groups=list(_failure_groups(data)),
        total=total_usage(data.jobs),
        costs_known=all(map(cost_known, data.jobs)),
        settings=list(_sections(data.settings)),
        too_few=too_few,
        side_name=_side_name,
        headline=headline(data),
        steps=funnel(data),
        costs=costs(data),
        hues=HUES,
    )


def _reaches(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """How far from 0 each metric's axis goes, alike for all of `comparisons`."""
    return {metric: reach(comparisons, metric) for each in comparisons for metric in each.metrics}


def _sides(rows: Sequence[Row]) -> list[tuple[str, bool, list[Row]]]:
    """The table's rows by split and way of asking, in their order."""
    sides: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        sides.setdefault((row.split, row.retrieval), []).append(row)
    return [(*side, found) for side, found in sides.items()]


def _side_name(split: str, retrieval: bool, both_ways: bool) -> str:
    """The name of a group of the table; it mentions retrieval only if the run has answers with and without."""
    name = SPLITS.get(split, split)
    if not both_ways and retrieval:
        return name
    return f"{name}, {'with' if retrieval else 'without'} retrieval"


def _failure_groups(data: ReportData) -> Iterator[dict[str, Any]]:
    """Each job's failures by kind, the most frequent first, with some of them to look at."""
    for job in data.jobs:
        for kind, count in sorted(job.failures.items(), key=lambda item: (-item[1], item[0])):
            listed = [failure for failure in data.failures if (failure.job, failure.kind) == (job.job, kind)]
            yield {"job": job.job, "kind": kind, "count": count, "listed": listed[:LISTED_FAILURES]}


def _sections(settings: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each section of the configuration by its dotted name, with its own keys; those above all sections come first."""
    own = [(key, _value(value)) for key, value in settings.items() if not isinstance(value, Mapping)]
    if own:
        yield name, own
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _sections(value, f"{name}.{key}" if name else key)


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return "empty" if value in ("", [], ()) else str(value)
