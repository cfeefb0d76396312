"""Means and paired differences with intervals that count unscored answers and treat questions about one paper as
dependent.

Everything is clustered by paper: a mean is the sum of all scores divided by their number, so large papers keep their
weight, and its error comes from the differences between whole papers (the cluster-robust variance of a ratio, by
deleting one paper at a time). With ten papers or more the interval is the bootstrap-t (Efron, 1981): papers are drawn
with replacement, and the t of the draws gives both ends, which follows the skew of scores near the top of their scale.
With fewer papers the draws repeat, and Student's t with one degree of freedom less than papers is closer to the truth;
the plain percentile bootstrap covers 75 % instead of 95 % with three papers. With a single paper each question counts
as a paper, which makes the interval too narrow; the report says so. Draws depend only on a seed, so the same scores
give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Difference", "Mean", "mean", "paired_difference"]

Floats = npt.NDArray[np.float64]

_TAIL = 0.025  # on either side of a 95 % interval
_NORMAL = 1.959964  # the normal distribution's quantile there, and Student's for 1 to 8 degrees of freedom
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060)
_ENOUGH_CLUSTERS = 10
_EXACT_CLUSTERS = 12  # up to here every pattern of signs is tried: 4096
_FLIPS = 10_000
_DECIMALS = 4
_BLOCK = 4_000_000  # drawn numbers held at once: 32 MB


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean of ``scored`` values out of ``total``, with its 95 % interval; all three are None if nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None
    scored: int
    total: int


class Difference(Mean, frozen=True, kw_only=True):
    """A mean of paired differences. ``p`` is from a permutation test; ``papers`` is the number of papers with a scored
    pair.
    """

    p: float | None
    won: int
    tied: int
    lost: int
    papers: int


class _Interval(NamedTuple):
    low: float
    high: float


def mean(
    values: Sequence[float | None],
    clusters: Sequence[str],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    seed: int = 0,
    resamples: int = 2000,
) -> Mean:
    """The mean of `values` and its interval, clustered by `clusters` (one paper id a value), to four decimals.

    A value that is None or not a number is unscored: left out of the mean, counted in the total. The interval is cut to
    `bounds`, the ends of the scale. If every score is at one end, there is no variance to use, and the interval is that
    of Clopper & Pearson (1934) for the number of papers: 20 hits of 20 give 0.83 to 1. Raises `ValueError` when the two
    sequences differ in length.
    """
    scores, groups = _scored(values, clusters)
    if not len(scores):
        return Mean(mean=None, low=None, high=None, scored=0, total=len(values))
    low, high = _interval(scores, _own_if_one(groups), seed, resamples)
    unseen = (bounds[1] - bounds[0]) * (1 - _TAIL ** (1 / (1 + _own_if_one(groups).max())))
    if (scores == bounds[0]).all():
        high = bounds[0] + unseen
    elif (scores == bounds[1]).all():
        low = bounds[1] - unseen
    return Mean(
        mean=_rounded(scores.mean()),
        low=_rounded(max(low, min(bounds[0], scores.min()))),
        high=_rounded(min(high, max(bounds[1], scores.max()))),
        scored=len(scores),
        total=len(values),
    )


def paired_difference(
    pairs: Sequence[tuple[float | None, float | None]],
    clusters: Sequence[str],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    tie: float = 0.0,
    seed: int = 0,
    resamples: int = 2000,
) -> Difference:
    """How much higher the first of each pair is than the second, over the pairs in which both were scored.

    `bounds` are those of one score; a difference of at most `tie` is neither won nor lost. `p` is the share of all ways
    to swap the two within whole papers that give a mean as far from 0 as this one (a sign-flip test, Fisher, 1935;
    exact for up to twelve papers). With three papers it cannot be below 0.25.
    """
    differences = [None if first is None or second is None else first - second for first, second in pairs]
    span = bounds[1] - bounds[0]
    found = mean(differences, clusters, bounds=(-span, span), seed=seed, resamples=resamples)
    scores, groups = _scored(differences, clusters)
    return Difference(
        **msgspec.structs.asdict(found),
        p=_rounded(_sign_flips(scores, _own_if_one(groups), seed)) if len(scores) else None,
        won=int((scores > tie).sum()),
        tied=int((np.abs(scores) <= tie).sum()),
        lost=int((scores < -tie).sum()),
        papers=len(np.unique(groups)),
    )


def _scored(values: Sequence[float | None], clusters: Sequence[str]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The values that are numbers, and for each the number of its cluster."""
    scored = [
        (value, cluster)
        for value, cluster in zip(values, clusters, strict=True)
        if value is not None and math.isfinite(value)
    ]
    _, groups = np.unique(np.array([cluster for _, cluster in scored], dtype=object), return_inverse=True)
    return np.array([value for value, _ in scored], dtype=np.float64), groups.astype(np.intp)


def _own_if_one(groups: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The clusters; if there is only one, each value is a cluster of its own."""
    return groups if len(groups) and groups.max() > 0 else np.arange(len(groups))


def _interval(scores: Floats, groups: npt.NDArray[np.intp], seed: int, resamples: int) -> _Interval:
    centre = float(scores.mean())
    counts: Floats = np.bincount(groups).astype(np.float64)
    # Each cluster's sum, measured from the mean.
    apart: Floats = np.asarray(np.bincount(groups, weights=scores - centre), dtype=np.float64)
    clusters = len(counts)
    if clusters < 2:
        return _Interval(centre, centre)
    if clusters >= _ENOUGH_CLUSTERS:
        drawn = _drawn_t(apart, counts, seed, resamples)
        if np.isfinite(drawn).all():
            low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL]) * _error(np.square(apart).sum(), counts.sum(), clusters)
            return _Interval(centre - high, centre - low)
    half = _student(clusters - 1) * _deletion_error(apart, counts)
    return _Interval(centre - half, centre + half)


def _deletion_error(apart: Floats, counts: Floats) -> float:
    """The standard error of the mean by leaving out one cluster at a time (the jackknife)."""
    left = -apart / (counts.sum() - counts)
    clusters = len(counts)
    return float(np.sqrt((clusters - 1) / clusters * np.square(left - left.mean()).sum()))


def _drawn_t(apart: Floats, counts: Floats, seed: int, resamples: int) -> Floats:
    """The t of each of `resamples` draws of clusters: infinite where a draw differs from the mean without any spread."""
    generator, clusters = np.random.default_rng(seed), len(counts)
    terms = np.stack([apart, counts, apart * apart, apart * counts, counts * counts], axis=1)
    block = max(1, _BLOCK // clusters)
    sums = []
    for start in range(0, resamples, block):
        drawn = generator.integers(0, clusters, (min(block, resamples - start), clusters))
        sums.append(np.stack([term[drawn].sum(axis=1) for term in terms.T]))
    sum_, count, squares, products, sizes = np.concatenate(sums, axis=1)
    shift = sum_ / count
    spread = np.maximum(squares - 2 * shift * products + shift * shift * sizes, 0.0)
    error = _error(spread, count, clusters)
    flat = error <= 1e-9 * (np.abs(apart).max() + 1e-300)
    return np.where(flat, np.where(np.abs(sum_) <= 1e-9, 0.0, np.inf), shift / np.where(flat, 1.0, error))


def _error(squares: Floats | float, count: Floats | float, clusters: int) -> Floats:
    """The cluster-robust standard error of a mean over `count` values."""
    return np.asarray(np.sqrt(squares * clusters / (clusters - 1)) / count)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: tabled, then by its expansion around the normal one (Fisher & Cornish)."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _sign_flips(differences: Floats, groups: npt.NDArray[np.intp], seed: int) -> float:
    """The share of sign patterns over whole clusters whose sum is as far from 0 as the one that was seen."""
    sums = np.bincount(groups, weights=differences)
    least = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    clusters = len(sums)
    if clusters <= _EXACT_CLUSTERS:
        bits = np.arange(2**clusters)[:, None] >> np.arange(clusters) & 1
        return float((np.abs((2 * bits - 1) @ sums) >= least).mean())
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // clusters)
    as_far = 0
    for start in range(0, _FLIPS, block):
        bits = generator.integers(0, 2, (min(block, _FLIPS - start), clusters), dtype=np.int8)
        as_far += int((np.abs((2.0 * bits - 1.0) @ sums) >= least).sum())
    return (as_far + 1) / (_FLIPS + 1)


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS) + 0.0  # -0.0 becomes 0.0
