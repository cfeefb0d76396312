"""The report as plain data: `ReportData` and its parts, and `results.json`.

Everything here is a pure function of `ReportData`, and nothing in `results.json` names a time or a machine, so the same
answers give the same bytes. The figures are computed in `jobs.report.comparison`, `jobs.report.retrieval_quality` and
`jobs.report.judge_agreement`, put into words in `jobs.report.wording`, printed in `jobs.report.console_table`, and
drawn in `jobs.report.page`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from engine.requests import Usage
from jobs.report.intervals import Difference, Mean
from jobs.report.product import Product
from jobs.report.text_coverage import TextCoverage
from jobs.review.figures import ReviewFigures
from jobs.run.batches import BatchesInState
from jobs.tuning.lora.losses import Loss

__all__ = [
    "METRICS",
    "SPLITS",
    "Change",
    "Comparison",
    "Coverage",
    "Failure",
    "Histogram",
    "JobSummary",
    "Noise",
    "Passage",
    "Preferences",
    "ReportData",
    "RetrievalQuality",
    "Row",
    "Scatter",
    "cost_known",
    "label",
    "results_json",
    "total_usage",
]

SPLITS = {"val": "validation", "train": "training"}  # in the order of the table: what counts comes first
METRICS = {"correctness": "Correctness", "semantic_similarity": "Semantic similarity"}
_LABELS = {**METRICS, "token_f1": "Token F1", "rouge_l": "ROUGE-L"}


def label(metric: str) -> str:
    """The name of `metric` for readers."""
    if metric.startswith("llama:"):
        return metric.removeprefix("llama:").rpartition(".")[2]
    return _LABELS.get(metric, metric.replace("_", " ").capitalize())


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``name`` is for readers ("base, validation"), ``split`` as in the records ("val").

    ``retrieval`` is False if the questions were asked without contexts; ``metrics`` holds the further metrics;
    ``papers`` is the number of papers that the scored questions are about.
    """

    name: str
    model: str
    split: str
    correctness: Mean
    semantic_similarity: Mean
    retrieval: bool = True
    metrics: dict[str, Mean] = {}
    papers: int = 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two models' answers to the same questions: how much higher ``model`` scored than ``against``, by metric.

    If the two are the same model, it is the effect of retrieval: with it minus without.
    """

    name: str
    model: str
    against: str
    split: str
    retrieval: bool
    metrics: dict[str, Difference]


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """The distribution of one model's scores of one metric on one split: ``counts[i]`` are from ``edges[i]`` to the
    next.

    Scores beyond the outer edges are in the outer bins; unscored answers are in none.
    """

    metric: str
    model: str
    split: str
    edges: list[float]
    counts: list[int]
    retrieval: bool = True


class Scatter(msgspec.Struct, frozen=True, kw_only=True):
    """Each question's two scores: (score of ``against``, score of ``model``, number of questions with these two)."""

    metric: str
    model: str
    against: str
    split: str
    retrieval: bool
    points: list[tuple[float, float, int]]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved chunk as shown to a reader. ``source`` means that the question was made from it."""

    title: str
    page: int
    text: str
    source: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One question on which two models differ much: both answers, both scores, and the judge's feedback on each.

    In each pair ``against`` comes first, then ``model``.
    """

    model: str
    against: str
    split: str
    metric: str
    question: str
    reference: str
    passages: list[Passage]
    answers: tuple[str, str]
    scores: tuple[float, float]
    feedback: tuple[str, str]


class RetrievalQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How well retrieval finds the chunk that a question was made from, over the evaluated questions of a split.

    ``recall`` is by k: the share of questions whose chunk is among the first k. ``hit_rate`` is the recall of the
    largest k, ``mrr`` the mean of 1 / rank, with 0 for a chunk that was not found.
    """

    split: str
    hit_rate: Mean
    mrr: Mean
    recall: dict[int, Mean]


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How far a judge agrees with itself when it scores an answer twice, over ``scored`` of ``total`` answers.

    ``exact`` is the share of equal scores, ``close`` of those at most half a point apart; ``absolute`` is the mean
    distance and ``deviation`` the standard deviation of the difference, in points of the scale. All are None if nothing
    was scored twice.
    """

    exact: float | None
    close: float | None
    absolute: float | None
    deviation: float | None
    scored: int
    total: int


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """Which of two answers the judge prefers when it sees both, in either order.

    A preference counts as won or lost only if it is the same in both orders; ``inconsistent`` of the ties are
    preferences that changed with the order. ``unscored`` of ``total`` questions have no readable answer in one order or
    both.
    """

    model: str
    against: str
    split: str
    retrieval: bool
    won: int
    tied: int
    lost: int
    inconsistent: int
    unscored: int
    total: int


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one job did, summed over its seals. ``failures`` counts inputs by kind of failure.

    ``priced`` means that the job's model has a price (or is free), so that ``usage.cost_usd`` is known.
    """

    job: str
    inputs: int
    rows: int
    failures: dict[str, int]
    usage: Usage
    priced: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failed input: its id, the recorded reason, the path of its paper if known, and what was answered, if kept."""

    job: str
    kind: str
    id: str
    reason: str
    paper: str = ""
    reply: str = ""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the corpus the table is based on. `papers_failed` counts papers by reason, `train` and `val`
    count examples, `evaluated` counts the pairs that have a verdict of at least one model; `rejected` counts the pairs
    that curation refused, by reason; `text` says how much of the papers' text stands in chunks."""

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
    text: TextCoverage = TextCoverage()


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All data of the report. Jobs are in the order of the pipeline.

    ``models`` names the model behind each role; ``judge_note`` is set when correctness is not a rating, and is shown
    beside that column; ``correctness_range`` is the scale of the scores. ``failures`` may hold all failures
    or the first few of each job and kind. ``settings`` is the resolved configuration, nested or flat, without secrets.
    ``seconds`` is by job or step, from its start to its end, over all process runs, ``batches`` are those of the run by
    state, ``product`` is about its pairs, and ``reviews`` about what people decided; only the page shows these four.
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
    differences: list[Comparison] = []
    retrieval_effects: list[Comparison] = []
    scatters: list[Scatter] = []
    gains: list[Change] = []
    losses: list[Change] = []
    found: list[RetrievalQuality] = []
    noise: Noise | None = None
    preferences: list[Preferences] = []
    loss_curve: list[Loss] = []
    seconds: dict[str, float] = {}
    batches: list[BatchesInState] = []
    product: Product = Product()
    reviews: ReviewFigures = ReviewFigures()


def results_json(data: ReportData) -> bytes:
    """`results.json`: rows, usage and failures by job with their totals, coverage, models; then the comparisons of the
    models, and the quality of retrieval and of the judge. An unknown cost is null."""
    kinds = [count for job in data.jobs for count in job.failures.values()]
    document = {
        "rows": [_row(row) for row in data.rows],
        "usage": {
            "total": _usage(total_usage(data.jobs), known=all(map(cost_known, data.jobs))),
            "jobs": {job.job: _usage(job.usage, known=cost_known(job)) for job in data.jobs},
        },
        "failures": {"total": sum(kinds), "jobs": {job.job: job.failures for job in data.jobs if job.failures}},
        "coverage": data.coverage,
        "models": data.models,
        "judge_note": data.judge_note,
        "differences": data.differences,
        "retrieval_effects": data.retrieval_effects,
        "retrieval": data.found,
        "judge_noise": data.noise,
        "preferences": data.preferences,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def total_usage(jobs: Iterable[JobSummary]) -> Usage:
    """The total usage of `jobs`."""
    return sum((job.usage for job in jobs), Usage())


def cost_known(job: JobSummary) -> bool:
    """Whether the cost of `job` is known: its model has a price, or it sent no request."""
    return job.priced or job.usage.requests == 0


def _row(row: Row) -> dict[str, Any]:
    """A line of the table with a key for each metric, those by option beside the first two."""
    fields: dict[str, Any] = msgspec.to_builtins(row)
    metrics: dict[str, Any] = fields.pop("metrics")
    return fields | metrics


def _usage(usage: Usage, *, known: bool) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(usage)
    return fields if known else fields | {"cost_usd": None}
