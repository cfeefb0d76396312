"""The report's figures: one row a model and split, as a table on the terminal and in `results.json`.

Everything here is a pure function of `ReportData`, except for `print_table`. Nothing names a time or a machine, so the
same answers give the same bytes. The page for people is made in `jobs.page`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from engine.requests import Usage
from jobs.records import Verdict
from jobs.statistics import Mean, mean

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "METRICS",
    "SPLITS",
    "Coverage",
    "Failure",
    "Histogram",
    "JobSummary",
    "ReportData",
    "Row",
    "cost_known",
    "histograms",
    "print_table",
    "results_json",
    "table_rows",
    "total_usage",
]

SPLITS = {"val": "validation", "train": "training"}  # in the order of the table: what counts comes first
METRICS = {"correctness": "Correctness", "semantic_similarity": "Semantic similarity"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``name`` is for readers ("base, validation"), ``split`` as in the records ("val")."""

    name: str
    model: str
    split: str
    correctness: Mean
    semantic_similarity: Mean


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How one model's scores of one metric are spread on one split: ``counts[i]`` lie from ``edges[i]`` to the next.

    Scores beyond the outer edges are in the outer bins; what was not scored is in none.
    """

    metric: str
    model: str
    split: str
    edges: list[float]
    counts: list[int]


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one job did, summed over its seals. ``failures`` counts inputs by kind of failure.

    ``priced`` says that the job's model has a price (or is free), so that ``usage.cost_usd`` means something.
    """

    job: str
    inputs: int
    rows: int
    failures: dict[str, int]
    usage: Usage
    priced: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failed input: its id, the reason that was written down, and the path of its paper where it is known."""

    job: str
    kind: str
    id: str
    reason: str
    paper: str = ""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the corpus stands behind the table. `papers_failed` counts papers by reason, `train` and `val`
    count examples, `evaluated` counts the pairs that have a verdict of at least one model; `rejected` counts the pairs
    that curation refused, by reason."""

    papers: int
    papers_parsed: int
    papers_failed: dict[str, int]
    chunks: int
    questions: int
    pairs: int
    examples: int
    train: int
    val: int
    evaluated: int
    rejected: dict[str, int] = {}


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All that the report says. Jobs stand in the order of the pipeline.

    ``models`` names the model behind each role; ``judge_note`` is set when correctness is not what its name promises
    and stands beside that column; ``correctness_range`` is the scale of the scores. ``failures`` may hold all failures
    or the first few of each job and kind. ``settings`` is the resolved configuration, nested or flat, without secrets.
    """

    title: str
    rows: list[Row]
    histograms: list[Histogram]
    coverage: Coverage
    jobs: list[JobSummary]
    failures: list[Failure]
    models: dict[str, str]
    judge_note: str = ""
    correctness_range: tuple[float, float] = (1.0, 5.0)
    settings: dict[str, Any] = {}


def table_rows(
    verdicts: Iterable[Verdict],
    models: Sequence[str],
    *,
    asked: Mapping[tuple[str, str], int] | None = None,
    seed: int = 0,
) -> list[Row]:
    """One row for each split that has verdicts and each of `models`: validation before training, models as given.

    `asked` gives, by model and split, how many answers were to be judged: those without a verdict, because answering
    or judging failed, count as unscored. Verdicts of other models are left out.
    """
    cells = _by_cell(verdicts)
    rows = []
    for split in _splits(cells):
        for model in models:
            cell = cells.get((model, split), [])
            missing = max(0, (asked or {}).get((model, split), 0) - len(cell))
            means = {metric: _mean(cell, metric, missing, seed) for metric in METRICS}
            name = f"{model}, {SPLITS.get(split, split)}"
            rows.append(Row(name=name, model=model, split=split, **means))
    return rows


def histograms(
    verdicts: Iterable[Verdict], models: Sequence[str], *, correctness_range: tuple[float, float] = (1.0, 5.0)
) -> list[Histogram]:
    """The scores behind `table_rows`, in the order of its rows, first all of correctness, then all of similarity.

    A 1–5 scale has a bin around each half point; a scale from 0 to 1 and the cosine have twenty bins.
    """
    cells = _by_cell(verdicts)
    edges = {"correctness": _edges(*correctness_range), "semantic_similarity": _edges(0.0, 1.0)}
    return [
        _histogram(cells.get((model, split), []), metric, model, split, edges[metric])
        for metric in METRICS
        for split in _splits(cells)
        for model in models
    ]


def results_json(data: ReportData) -> bytes:
    """`results.json`: rows, usage and failures by job with their totals, coverage, models. A cost that is not known
    is null."""
    kinds = [count for job in data.jobs for count in job.failures.values()]
    document = {
        "rows": data.rows,
        "usage": {
            "total": _usage(total_usage(data.jobs), known=all(map(cost_known, data.jobs))),
            "jobs": {job.job: _usage(job.usage, known=cost_known(job)) for job in data.jobs},
        },
        "failures": {"total": sum(kinds), "jobs": {job.job: job.failures for job in data.jobs if job.failures}},
        "coverage": data.coverage,
        "models": data.models,
        "judge_note": data.judge_note,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def print_table(data: ReportData, console: Console) -> None:
    """Print the table to `console`; columns of plain text where it is not a terminal."""
    heads = ["", "correctness", "semantic similarity"]
    lines = [[row.name, _cell(row.correctness, 2), _cell(row.semantic_similarity, 3)] for row in data.rows]
    if not lines:
        console.print("Nothing was evaluated.")
        return
    if console.is_terminal:
        from rich.table import Table
        from rich.text import Text

        table = Table(*heads)
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
    else:
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        for line in [heads, *lines]:
            console.out("  ".join(map(str.ljust, line, widths)).rstrip(), highlight=False)
    console.out("mean [95 % interval] scored/total", highlight=False)
    if data.judge_note:
        console.out(f"correctness: {data.judge_note}", highlight=False)


def _by_cell(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], list[Verdict]]:
    cells: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        cells.setdefault((verdict.model, verdict.split), []).append(verdict)
    return cells


def _splits(cells: Iterable[tuple[str, str]]) -> list[str]:
    seen = {split for _, split in cells}
    return [split for split in SPLITS if split in seen] + sorted(seen - SPLITS.keys())


def _mean(cell: Sequence[Verdict], metric: str, missing: int, seed: int) -> Mean:
    values = [getattr(verdict, metric) for verdict in cell] + [None] * missing
    bounds = (1.0, 5.0) if metric == "correctness" else (-1.0, 1.0)
    return mean(values, [verdict.paper_id for verdict in cell] + [""] * missing, bounds=bounds, seed=seed)


def _histogram(cell: Sequence[Verdict], metric: str, model: str, split: str, edges: list[float]) -> Histogram:
    scores = [score for verdict in cell if (score := getattr(verdict, metric)) is not None]
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return Histogram(metric=metric, model=model, split=split, edges=edges, counts=counts.tolist())


def _edges(low: float, high: float) -> list[float]:
    """Bins around half points on a scale of some points (1 to 5), else twentieths of the range."""
    if high - low > 1:
        return [low - 0.25 + 0.5 * step for step in range(round((high - low) * 2) + 2)]
    return [round(low + (high - low) * step / 20, 6) for step in range(21)]


def total_usage(jobs: Iterable[JobSummary]) -> Usage:
    """What all of `jobs` cost together."""
    return sum((job.usage for job in jobs), Usage())


def cost_known(job: JobSummary) -> bool:
    """Whether the dollars of `job` mean something: its model has a price, or it asked nothing."""
    return job.priced or job.usage.requests == 0


def _usage(usage: Usage, *, known: bool) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(usage)
    return fields if known else fields | {"cost_usd": None}


def _cell(mean: Mean, decimals: int) -> str:
    if mean.mean is None:
        return f"not scored  0/{mean.total}"
    figures = [f"{figure:.{decimals}f}" for figure in (mean.mean, mean.low, mean.high)]
    return f"{figures[0]} [{figures[1]}, {figures[2]}] {mean.scored}/{mean.total}"
