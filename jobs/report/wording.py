"""The report's figures in words: numbers with a fixed number of places, and differences as phrases.

The phrases follow fixed rules, which are the same for gains and losses.
"""

from __future__ import annotations

from jobs.report.data import Comparison, label
from jobs.report.intervals import Difference

__all__ = ["FEW_QUESTIONS", "chance", "figure", "reading", "sentence", "signed", "too_few", "won_lost"]

FEW_QUESTIONS = 10
_TESTABLE_PAPERS = 6  # with five, no permutation has p < 0.05
_CLEAR = 0.05


def figure(value: float, metric: str) -> str:
    """A score or a mean: two places for correctness, three for metrics from 0 to 1."""
    return f"{value:.{_places(metric)}f}".replace("-", "−")


def signed(value: float, metric: str) -> str:
    """A difference with its sign; a value that rounds to zero has none."""
    text = f"{value:+.{_places(metric)}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def chance(p: float) -> str:
    """A p-value: "p = 0.11", "p = 0.013", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"


def won_lost(difference: Difference) -> str:
    """The count of questions: "14 won, 9 lost, 2 tied"."""
    tied = f", {difference.tied} tied" if difference.tied else ""
    return f"{difference.won} won, {difference.lost} lost{tied}"


def reading(difference: Difference) -> str:
    """What a difference means, in a few words; it is clear only if its interval excludes 0 and p is below 0.05."""
    if difference.mean is None or difference.low is None or difference.high is None or difference.p is None:
        return "nothing to compare"
    if warning := too_few(difference.scored, difference.papers):
        return warning
    apart = difference.low > 0 or difference.high < 0
    unlikely = difference.p < _CLEAR
    if apart and unlikely:
        return "clearly higher" if difference.mean > 0 else "clearly lower"
    return "a hint at most" if apart or unlikely else "no clear difference"


def too_few(questions: int, papers: int) -> str:
    """A warning if a figure has too few questions or papers to mean anything; else ""."""
    if questions < FEW_QUESTIONS:
        return f"{questions} {'question' if questions == 1 else 'questions'}: read nothing into this"
    if papers < _TESTABLE_PAPERS:
        return f"{papers} {'paper' if papers == 1 else 'papers'}: too few to tell"
    return ""


def sentence(comparison: Comparison, metric: str) -> str:
    """One difference in one line: the models, the metric, the value, its interval, and its meaning."""
    difference = comparison.metrics[metric]
    whose = f"{comparison.name}, {label(metric)}"
    if difference.mean is None or difference.low is None or difference.high is None or difference.p is None:
        return f"{whose}: {reading(difference)} (0/{difference.total})"
    interval = f"[{signed(difference.low, metric)}, {signed(difference.high, metric)}]"
    figures = [f"{signed(difference.mean, metric)} {interval}", chance(difference.p), won_lost(difference)]
    return f"{whose}: {', '.join(figures)} ({difference.scored}/{difference.total}): {reading(difference)}"


def _places(metric: str) -> int:
    return 2 if metric == "correctness" else 3
