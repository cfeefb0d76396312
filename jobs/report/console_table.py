"""The report on the terminal: the table, and the differences below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jobs.report.console_columns import print_columns
from jobs.report.data import METRICS, SPLITS, Noise, Preferences, ReportData, Row, label
from jobs.report.intervals import Mean
from jobs.report.wording import figure, sentence

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_table"]

_OTHER_LINES = 26
"""Lines of a terminal that are left for what stands around the rows: heads, notes, pairs, failures."""
_LEAST_ROWS = 4
_LEAST_NOTES = 6


def print_table(data: ReportData, console: Console) -> None:
    """Print the table and the paired differences to `console`.

    Where it is no terminal, all of it in columns of plain text; on a terminal what fits, and how much the report has more.
    """
    if not data.rows:
        console.print("Nothing was evaluated.")
        return
    others = list(dict.fromkeys(metric for row in data.rows for metric in row.metrics))
    shown = others[: _fitting(data, others, console.width)] if console.is_terminal else others
    rows = data.rows[: max(_LEAST_ROWS, console.height - _OTHER_LINES)] if console.is_terminal else data.rows
    heads = ["", *(label(metric).lower() for metric in METRICS), *map(label, shown)]
    print_columns(heads, [_line(row, shown) for row in rows], console)
    notes = list(_notes(data))
    shown_notes = notes[:_LEAST_NOTES] if console.is_terminal else notes
    for text in shown_notes:
        console.out(text, highlight=False)
    left = {
        "metrics": len(others) - len(shown),
        "rows": len(data.rows) - len(rows),
        "lines": len(notes) - len(shown_notes),
    }
    if more := ", ".join(f"{count} more {what}" for what, count in left.items() if count):
        console.out(f"in the report: {more}", highlight=False)


def _fitting(data: ReportData, others: Sequence[str], width: int) -> int:
    """How many of the further metrics stand beside the first two in a drawn table of this width."""
    for count in range(len(others), 0, -1):
        heads = ["", *(label(metric).lower() for metric in METRICS), *map(label, others[:count])]
        columns = zip(heads, *(_line(row, others[:count]) for row in data.rows), strict=True)
        if sum(max(map(len, column)) + 3 for column in columns) + 1 <= width:
            return count
    return 0


def _line(row: Row, others: Sequence[str]) -> list[str]:
    return [
        row.name,
        *(_cell(getattr(row, metric), metric) for metric in METRICS),
        *(_short(row.metrics.get(metric), metric) for metric in others),
    ]


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
