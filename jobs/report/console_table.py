"""The report on the terminal: the table, and the differences below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobs.report.console_columns import print_columns
from jobs.report.data import METRICS, SPLITS, Noise, Preferences, ReportData, label
from jobs.report.intervals import Mean
from jobs.report.wording import figure, sentence

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_table"]


def print_table(data: ReportData, console: Console) -> None:
    """Print the table and the paired differences to `console`; columns of plain text where it is not a terminal."""
    if not data.rows:
        console.print("Nothing was evaluated.")
        return
    others = list(dict.fromkeys(metric for row in data.rows for metric in row.metrics))
    heads = ["", *(label(metric).lower() for metric in METRICS), *map(label, others)]
    lines = [
        [
            row.name,
            *(_cell(getattr(row, metric), metric) for metric in METRICS),
            *(_short(row.metrics.get(metric), metric) for metric in others),
        ]
        for row in data.rows
    ]
    print_columns(heads, lines, console)
    for text in _notes(data):
        console.out(text, highlight=False)


def _notes(data: ReportData) -> Iterator[str]:
    yield "mean [95 % interval] scored/total"
    if data.judge_note:
        yield f"correctness: {data.judge_note}"
    for comparison in [*data.differences, *data.retrieval_effects]:
        for metric in METRICS:
            yield sentence(comparison, metric)
    if data.noise:
        yield _judged_twice(data.noise)
    yield from map(_preferred, data.preferences)


def _judged_twice(noise: Noise) -> str:
    if noise.exact is None:
        return f"judge asked twice: nothing could be scored (0/{noise.total})"
    return (
        f"judge asked twice: {noise.exact:.0%} the same score, {noise.close:.0%} within half a point, "
        f"{noise.absolute:.2f} apart on average ({noise.scored}/{noise.total})"
    )


def _preferred(found: Preferences) -> str:
    side = SPLITS.get(found.split, found.split) + ("" if found.retrieval else ", no retrieval")
    return (
        f"{found.model} or {found.against}, {side}, judged side by side in both orders: {found.won} won, "
        f"{found.lost} lost, {found.tied} tied, {found.inconsistent} of them turned with the order "
        f"({found.total - found.unscored}/{found.total})"
    )


def _cell(mean: Mean, metric: str) -> str:
    if mean.mean is None or mean.low is None or mean.high is None:
        return f"not scored  0/{mean.total}"
    interval = f"[{figure(mean.low, metric)}, {figure(mean.high, metric)}]"
    return f"{figure(mean.mean, metric)} {interval} {mean.scored}/{mean.total}"


def _short(mean: Mean | None, metric: str) -> str:
    if mean is None or mean.mean is None:
        return f"not scored  0/{mean.total}" if mean else ""
    return f"{figure(mean.mean, metric)} {mean.scored}/{mean.total}"
