"""Means with honest intervals: what was not scored is counted, and questions about one paper are not independent.

The interval is the percentile bootstrap (Efron, 1979) over whole papers: papers are drawn with replacement, and the
mean of each draw is the sum of its scores over their number, so large papers keep their weight. Draws come from a seed
alone, so the same scores give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Mean", "bootstrap_mean"]

_LEVEL = 0.95
_DECIMALS = 4
_BLOCK = 4_000_000  # drawn numbers held at once: 32 MB


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean of ``scored`` values out of ``total``, with its 95 % interval; all three None when nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None
    scored: int
    total: int


def bootstrap_mean(
    values: Sequence[float | None], clusters: Sequence[str], *, seed: int = 0, resamples: int = 2000
) -> Mean:
    """The mean of `values` and its interval, clustered by `clusters` (one paper id a value), to four decimals.

    A value that is None or not a number is unscored: left out of the mean, counted in the total. When fewer than two
    clusters have a score there is nothing to draw from, so the values are drawn instead.

    Raises `ValueError` when the two sequences differ in length.
    """
    scored = [
        (value, cluster)
        for value, cluster in zip(values, clusters, strict=True)
        if value is not None and math.isfinite(value)
    ]
    if not scored:
        return Mean(mean=None, low=None, high=None, scored=0, total=len(values))
    scores = np.array([value for value, _ in scored], dtype=np.float64)
    names, groups = np.unique([cluster for _, cluster in scored], return_inverse=True)
    if len(names) < 2:
        groups = np.arange(len(scores))
    sums = np.bincount(groups, weights=scores).astype(np.float64)
    means = _drawn_means(sums, np.bincount(groups), seed, resamples)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Mean(
        mean=_rounded(scores.mean()),
        low=_rounded(low),
        high=_rounded(high),
        scored=len(scores),
        total=len(values),
    )


def _drawn_means(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.intp], seed: int, resamples: int
) -> npt.NDArray[np.float64]:
    """The mean of each of `resamples` draws of clusters, given each cluster's sum and number of scores."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(sums))
    means = []
    for start in range(0, resamples, block):
        drawn = generator.integers(0, len(sums), (min(block, resamples - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS) + 0.0  # -0.0 becomes 0.0
