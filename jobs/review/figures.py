"""How many pairs were reviewed, and the share of them that a person accepted as they were: the quality of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt
from typing import Any

import msgspec

from engine.datasets import Dataset
from jobs.records import Review
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.run.folder import RunFolder

__all__ = ["ReviewFigures", "review_figures", "sentence", "wilson"]

_Z = 1.959964
"""The 97.5 % quantile of the normal distribution: intervals are of 95 %."""


class ReviewFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs with a standing decision, by decision; those that curation had refused are in ``rescued`` only.

    ``sampled`` of them were drawn at random, ``sampled_accepted`` of these were accepted unchanged. Only these say
    something about all pairs: ``low`` and ``high`` bound the share of all that a person would accept (Wilson, 95 %; None
    where none was drawn at random).
    """

    reviewed: int = 0
    accepted: int = 0
    edited: int = 0
    rejected: int = 0
    rescued: int = 0
    sampled: int = 0
    sampled_accepted: int = 0
    low: float | None = None
    high: float | None = None


def review_figures(folder: RunFolder, datasets: Mapping[str, Dataset[Any]]) -> ReviewFigures:
    """The figures of a run, from its decisions about pairs that still exist; blocks."""
    log = ReviewLog(folder.reviews)
    decided: list[Review] = []
    for index in log.shards():
        there = {pair.id for pair in datasets["pairs"].read(index)}
        decided += [review for review in standing(log.rows(index)).values() if review.pair_id in there]
    return _figures(decided)


def sentence(figures: ReviewFigures) -> str:
    """The figures for people; "" where nothing was reviewed."""
    if not figures.reviewed and not figures.rescued:
        return ""
    parts = [f"{figures.accepted:,} accepted", f"{figures.edited:,} edited", f"{figures.rejected:,} rejected"]
    text = f"{figures.reviewed:,} pair{'s' * (figures.reviewed != 1)} reviewed: {', '.join(parts)}"
    if figures.low is not None and figures.high is not None:
        share = figures.sampled_accepted / figures.sampled
        text += (
            f"; {share:.0%} of the {figures.sampled:,} drawn at random are accepted unchanged "
            f"(95 % interval {figures.low:.0%} to {figures.high:.0%})"
        )
    if figures.rescued:
        text += f"; {figures.rescued:,} that curation had refused were decided on as well"
    return text


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The bounds of a share: Wilson's score interval of 95 %, rounded to 4 places. `whole` is at least 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    share, square = part / whole, _Z * _Z
    middle = share + square / (2 * whole)
    spread = _Z * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    low, high = ((middle + sign * spread) / (1 + square / whole) for sign in (-1, 1))
    return round(max(0.0, low), 4), round(min(1.0, high), 4)


def _figures(decided: list[Review]) -> ReviewFigures:
    kept = [review for review in decided if not review.refused]
    counts = Counter(review.decision for review in kept)
    drawn = [review for review in kept if review.queue == "random"]
    accepted = sum(review.decision == "accept" for review in drawn)
    low, high = wilson(accepted, len(drawn)) if drawn else (None, None)
    return ReviewFigures(
        reviewed=len(kept),
        accepted=counts["accept"],
        edited=counts["edit"],
        rejected=counts["reject"],
        rescued=len(decided) - len(kept),
        sampled=len(drawn),
        sampled_accepted=accepted,
        low=low,
        high=high,
    )
