"""The report's page: `report.html`, one self-contained file, readable on a phone, light or dark as the reader's system is.

All text that came from a paper or a model is escaped by the template; the page holds no script and allows none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.files import naming_the_disk, write_atomic
from jobs.figures import axis, curve, place, reach, scatter_axis
from jobs.report import METRICS, SPLITS, Comparison, ReportData, Row, cost_known, label, results_json, total_usage
from jobs.words import chance, figure, reading, signed, too_few, won_lost

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
    compared = [*data.differences, *data.retrieval_effects]
    page = _template().render(
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
    environment.filters |= {
        "visible": _visible,
        "passage": _passage,
        "label": label,
        "figure": figure,
        "signed": signed,
        "chance": chance,
        "reading": reading,
        "won_lost": won_lost,
        "duration": _duration,
        "tick": lambda value: f"{value:g}".replace("-", "−"),
    }
    environment.globals |= {"place": place, "too_few": too_few, "side_name": _side_name}
    return environment.get_template("report.html.j2")


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
    """What a group of the table is called; how it was asked is said only where it was asked both ways."""
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


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "not set" if value is None else str(value)


def _duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _passage(text: str, longest: int = 2000) -> str:
    """Text of several lines, as `_visible`; empty lines are left out."""
    lines = [_visible(line, longest) for line in text.splitlines()]
    shown = "\n".join(line for line in lines if line)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _visible(text: str, longest: int = 400) -> str:
    """Text from outside, without characters that a page cannot hold or that would hide what it says."""
    line = " ".join(text.split())
    shown = "".join("\ufffd" if _hides(letter) else letter for letter in line[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _hides(letter: str) -> bool:
    """Control characters, lone surrogates, and what turns the direction of the text after it."""
    return (
        unicodedata.category(letter) in ("Cc", "Cs")
        or 0x202A <= ord(letter) <= 0x202E
        or 0x2066 <= ord(letter) <= 0x2069
    )
