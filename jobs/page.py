"""The report's page: `report.html`, one self-contained file, readable on a phone, light or dark as the reader's system is.

All text that came from a paper or a model is escaped by the template; the page holds no script and allows none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.files import naming_the_disk, write_atomic
from jobs.report import METRICS, SPLITS, ReportData, cost_known, results_json, total_usage
from jobs.statistics import Mean

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["report_html", "write_report"]

LISTED_FAILURES = 20
_TEMPLATES = Path(__file__).with_name("templates")


def write_report(data: ReportData, folder: Path) -> None:
    """Write `results.json` and `report.html` into `folder`, each whole or not at all."""
    with naming_the_disk(folder / "report.html"):
        write_atomic(folder / "results.json", results_json(data))
        write_atomic(folder / "report.html", report_html(data))


def report_html(data: ReportData) -> bytes:
    """The bytes of `report.html`."""
    page = _template().render(
        data=data,
        metrics=METRICS,
        split_names=SPLITS,
        model_order=list(dict.fromkeys(row.model for row in data.rows)),
        axes={metric: _axis(data, metric) for metric in METRICS},
        failure_groups=list(_failure_groups(data)),
        total=total_usage(data.jobs),
        costs_known=all(map(cost_known, data.jobs)),
        settings=list(_flat(data.settings)),
    )
    return page.encode("utf-8", "replace")


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = _visible
    return environment.get_template("report.html.j2")


def _axis(data: ReportData, metric: str) -> list[float]:
    """The ticks of a metric's interval bars: the whole scale for correctness, what is needed for a cosine."""
    if metric == "correctness":
        low, high = data.correctness_range
        return [float(tick) for tick in np.linspace(low, high, round(high - low) + 1 if high - low > 1 else 5)]
    means: list[Mean] = [getattr(row, metric) for row in data.rows]
    ends = [end for mean in means for end in (mean.low, mean.high) if end is not None] or [0.0, 1.0]
    for step in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5):
        low, high = np.floor(min(ends) / step), np.ceil(max(ends) / step)
        if high - low <= 5:
            break
    return [round(float(step * tick), 2) for tick in np.arange(low, max(high, low + 1) + 1)]


def _failure_groups(data: ReportData) -> Iterator[dict[str, Any]]:
    """Each job's failures by kind, the most frequent first, with some of them to look at."""
    for job in data.jobs:
        for kind, count in sorted(job.failures.items(), key=lambda item: (-item[1], item[0])):
            listed = [failure for failure in data.failures if (failure.job, failure.kind) == (job.job, kind)]
            yield {"job": job.job, "kind": kind, "count": count, "listed": listed[:LISTED_FAILURES]}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "not set" if value is None else str(value)


def _visible(text: str, longest: int = 400) -> str:
    """Text from outside, without characters that a page cannot hold or that would hide what it says."""
    line = " ".join(text.split())
    shown = "".join("\ufffd" if _hides(letter) else letter for letter in line)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _hides(letter: str) -> bool:
    """Control characters, lone surrogates, and what turns the direction of the text after it."""
    return (
        unicodedata.category(letter) in ("Cc", "Cs")
        or 0x202A <= ord(letter) <= 0x202E
        or 0x2066 <= ord(letter) <= 0x2069
    )
