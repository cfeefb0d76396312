"""The geometry of the report's plots: ticks of axes, places in per cent of a plot, and the points of curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from jobs.report import Comparison, Loss, ReportData
from jobs.statistics import Mean

__all__ = ["Curve", "axis", "curve", "place", "reach", "scatter_axis"]

_STEPS = [step * 10.0**power for power in range(-2, 300) for step in (1, 2, 5)]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The loss over steps: ticks, and for training and validation the points "x,y x,y" in a square of 100 by 100.

    ``best`` is the lowest validation loss and ``last`` the last one; None where none was taken.
    """

    ticks: list[float]
    first: int
    final: int
    train: str
    val: str
    dots: list[tuple[float, float]]
    best: Loss | None
    last: Loss | None


def place(value: float, ticks: Sequence[float]) -> float:
    """Where `value` stands between the outer ticks, in per cent, to two places; what lies beyond stands at the end."""
    return round(min(100.0, max(0.0, 100 * (value - ticks[0]) / (ticks[-1] - ticks[0]))), 2)


def axis(data: ReportData, metric: str) -> list[float]:
    """The ticks of a metric's interval bars: the whole scale for correctness, what is needed for the others."""
    if metric == "correctness":
        low, high = data.correctness_range
        steps = round(high - low) if high - low > 1 else 4
        return [round(low + (high - low) * step / steps, 2) for step in range(steps + 1)]
    means: list[Mean] = [getattr(row, metric) for row in data.rows]
    return _ticks([end for mean in means for end in (mean.low, mean.high) if end is not None] or [0.0, 1.0])


def scatter_axis(data: ReportData, metric: str) -> list[float]:
    """The ticks of a metric's scatter plots, alike across and up."""
    if metric == "correctness":
        return axis(data, metric)
    scores = [score for plot in data.scatters if plot.metric == metric for point in plot.points for score in point[:2]]
    return _ticks(scores or [0.0, 1.0])


def reach(comparisons: Iterable[Comparison], metric: str) -> float:
    """How far from 0 the axis of a metric's differences must go to show every interval."""
    found = [comparison.metrics[metric] for comparison in comparisons if metric in comparison.metrics]
    ends = [abs(end) for each in found for end in (each.low, each.high) if end is not None]
    most = max(ends, default=0.0)
    return next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0) if step >= most), math.ceil(most))


def curve(losses: Sequence[Loss]) -> Curve | None:
    """The loss curve; None where there are not two steps to draw a line between."""
    train = [(loss.step, loss.train) for loss in losses if loss.train is not None and math.isfinite(loss.train)]
    held_out = [loss for loss in losses if loss.val is not None and math.isfinite(loss.val)]
    val = [(loss.step, loss.val) for loss in held_out if loss.val is not None]
    steps = sorted({step for step, _ in [*train, *val]})
    if len(steps) < 2:
        return None
    ticks = _ticks([loss for _, loss in [*train, *val]])
    ends = [float(steps[0]), float(steps[-1])]

    def points(of: Iterable[tuple[int, float]]) -> list[tuple[float, float]]:
        return [(place(step, ends), round(100 - place(loss, ticks), 2)) for step, loss in of]

    return Curve(
        ticks=ticks,
        first=steps[0],
        final=steps[-1],
        train=_joined(points(train)),
        val=_joined(points(val)),
        dots=points(val),
        best=min(held_out, key=lambda loss: loss.val or 0.0, default=None),
        last=held_out[-1] if held_out else None,
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """At most six round numbers, the outer ones around all of `values`."""
    for step in _STEPS:
        low, high = math.floor(min(values) / step + 1e-9), math.ceil(max(values) / step - 1e-9)
        if high - low <= 5:
            return [round(step * tick, 2) for tick in range(low, max(high, low + 1) + 1)]
    raise ValueError("an axis cannot hold values that are not finite")


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
