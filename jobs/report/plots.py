"""The geometry of the plots on pages: ticks of axes, places in per cent of a plot, and the points of curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from jobs.report.data import Comparison, ReportData
from jobs.report.intervals import Mean
from jobs.tuning.lora.losses import Loss

__all__ = ["Curve", "Line", "Lines", "axis", "curve", "lines", "place", "reach", "scatter_axis"]

_STEPS = [step * 10.0**power for power in range(-2, 300) for step in (1, 2, 5)]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a plot: its colour ("m0" to "m3"), and its points in a square of 100 by 100, drawn as dots or not.

    ``values`` says what each dot stands for, where that is written beside it.
    """

    name: str
    hue: str
    points: str
    dots: list[tuple[float, float]]
    values: list[str] = []


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A plot: ticks up; names across, and marks (vertical lines with a name), each at its per cent of the width."""

    ticks: list[float]
    across: list[tuple[float, str]]
    lines: list[Line]
    marks: list[tuple[float, str]] = []


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The loss over steps ``first`` to ``final``, in training and in validation.

    ``best`` is the lowest validation loss and ``last`` the last one; None where none was taken.
    """

    plot: Lines
    first: int
    final: int
    best: Loss | None
    last: Loss | None


def place(value: float, ticks: Sequence[float]) -> float:
    """The place of `value` between the outer ticks, in per cent to two places; values beyond are at the end."""
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
    """The loss curve; None if there are fewer than two steps."""
    train = [(loss.step, loss.train) for loss in losses if loss.train is not None and math.isfinite(loss.train)]
    held_out = [loss for loss in losses if loss.val is not None and math.isfinite(loss.val)]
    val = [(loss.step, loss.val) for loss in held_out if loss.val is not None]
    steps = sorted({step for step, _ in [*train, *val]})
    if len(steps) < 2:
        return None
    ticks = _ticks([loss for _, loss in [*train, *val]])
    ends = [float(steps[0]), float(steps[-1])]
    drawn = [
        _line(name, hue, [(place(step, ends), loss) for step, loss in of], ticks, dotted=dotted)
        for name, hue, of, dotted in (("training loss", "m0", train, False), ("validation loss", "m1", val, True))
    ]
    return Curve(
        plot=Lines(ticks=ticks, across=[(0, f"step {steps[0]}"), (100, f"step {steps[-1]}")], lines=drawn),
        first=steps[0],
        final=steps[-1],
        best=min(held_out, key=lambda loss: loss.val or 0.0, default=None),
        last=held_out[-1] if held_out else None,
    )


def lines(
    levels: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    marks: Mapping[str, float] | None = None,
    *,
    names: Sequence[str] = (),
) -> Lines:
    """A line for each of `series` over `levels`, which rise from above 0 and stand across by their logarithms.

    None has no point. `names` stand under the levels in the place of numbers. `marks` are levels with a name; what is at one level shares its mark. Up it begins at 0.
    """
    ends = [math.log(levels[0]), math.log(levels[-1])]
    across = [place(math.log(level), ends) for level in levels]
    ticks = _ticks([0.0, *(value for values in series.values() for value in values if value is not None)])
    named: dict[float, list[str]] = {}
    for name, level in (marks or {}).items():
        named.setdefault(place(math.log(level), ends), []).append(name)
    return Lines(
        ticks=ticks,
        across=list(zip(across, names or [f"{level:g}" for level in levels], strict=True)),
        lines=[
            _valued(_line(name, f"m{number % 4}", points, ticks), points)
            for number, (name, values) in enumerate(series.items(), 1)
            for points in [[(x, y) for x, y in zip(across, values, strict=True) if y is not None]]
        ],
        marks=[(x, ", ".join(names)) for x, names in named.items()],
    )


def _valued(line: Line, points: Sequence[tuple[float, float]]) -> Line:
    """`line` with the value of each of its `points` beside it: three significant digits."""
    return msgspec.structs.replace(
        line, values=[f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for _, value in points]
    )


def _line(
    name: str, hue: str, values: Sequence[tuple[float, float]], ticks: Sequence[float], *, dotted: bool = True
) -> Line:
    points = [(x, round(100 - place(value, ticks), 2)) for x, value in values]
    return Line(name=name, hue=hue, points=" ".join(f"{x:g},{y:g}" for x, y in points), dots=points if dotted else [])


def _ticks(values: Sequence[float]) -> list[float]:
    """At most six round numbers, the outer ones around all of `values`."""
    for step in _STEPS:
        low, high = math.floor(min(values) / step + 1e-9), math.ceil(max(values) / step - 1e-9)
        if high - low <= 5:
            return [round(step * tick, 2) for tick in range(low, max(high, low + 1) + 1)]
    raise ValueError("an axis cannot hold values that are not finite")
