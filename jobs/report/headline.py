"""The report in one or two sentences: what was made, and whether a model is better than the first one."""

from __future__ import annotations

from jobs.report.data import SPLITS, Comparison, ReportData, Row, label
from jobs.report.wording import figure, reading, signed, too_few

__all__ = ["headline"]

_NAMED = 3
_VERDICTS = {
    "clearly higher": "{model} is clearly better than {against}",
    "clearly lower": "{model} is clearly worse than {against}",
    "no clear difference": "no clear difference between {model} and {against}",
}


def headline(data: ReportData) -> str:
    """What the run came to: the pairs that were made, then each model against the first, or the first one alone.

    The models are compared by correctness on validation questions with retrieval, or by what there is in its place;
    by similarity where correctness is no rating.
    """
    return f"{_made(data)} {_found(data)}"


def _made(data: ReportData) -> str:
    coverage = data.coverage
    kept, pairs = data.product.kept, coverage.pairs
    count = f"{kept:,} of {pairs:,} pairs kept" if kept != pairs else f"{pairs:,} pairs made"
    if not coverage.papers:
        return f"{kept:,} pairs from a file."
    return f"{count}, from {coverage.papers_parsed:,} paper{'s' * (coverage.papers_parsed != 1)}."


def _found(data: ReportData) -> str:
    if not data.rows:
        return "Nothing was evaluated."
    metric = "semantic_similarity" if data.judge_note else "correctness"
    first = data.rows[0]
    compared = [each for each in data.differences if (each.split, each.retrieval) == (first.split, first.retrieval)]
    if not compared:
        return f"{_capital(_alone(first, metric, data.correctness_range[1]))}."
    more = f"; {len(compared) - _NAMED} more below" if len(compared) > _NAMED else ""
    verdicts = "; ".join(_verdict(each, metric) for each in compared[:_NAMED])
    return f"On {SPLITS.get(first.split, first.split)} questions, by {label(metric).lower()}: {verdicts}{more}."


def _alone(row: Row, metric: str, best: float) -> str:
    mean = getattr(row, metric)
    side = SPLITS.get(row.split, row.split)
    if mean.mean is None or mean.low is None or mean.high is None:
        return f"no answer of {row.model} to {side} questions could be scored"
    warning = too_few(mean.scored, row.papers)
    of = f" of {best:g}" if metric == "correctness" else ""
    score = f"{figure(mean.mean, metric)}{of} in {label(metric).lower()}"
    return (
        f"{row.model} scores {score} (95 % interval {figure(mean.low, metric)} to {figure(mean.high, metric)}) "
        f"on {mean.scored} {side} question{'s' * (mean.scored != 1)}{f' ({warning})' if warning else ''}"
    )


def _verdict(comparison: Comparison, metric: str) -> str:
    difference, who = comparison.metrics[metric], {"model": comparison.model, "against": comparison.against}
    words = reading(difference)
    if difference.mean is None or difference.low is None or difference.high is None:
        return "nothing of {model} and {against} to compare".format(**who)
    if words == "a hint at most":
        better = "better" if difference.mean > 0 else "worse"
        said = f"{comparison.model} may be {better} than {comparison.against}, a hint at most"
    else:
        said = _VERDICTS.get(words, "{model} against {against} tells nothing yet").format(**who)
    known = "" if words in _VERDICTS or words == "a hint at most" else f"; {words}"
    low, high = signed(difference.low, metric), signed(difference.high, metric)
    return f"{said} ({signed(difference.mean, metric)}, 95 % interval {low} to {high}{known})"


def _capital(sentence: str) -> str:
    return sentence if sentence.startswith(("base", "tuned")) else sentence[:1].upper() + sentence[1:]
