from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from jobs.report.plots import curve, lines, place
from jobs.tuning.lora.losses import Loss


def test_the_loss_curve() -> None:
    """Points run from the upper left to the lower right of the plot, and the lowest validation loss is named."""
    losses = [
        Loss(step=0, epoch=0, train=3.0, val=2.0),
        Loss(step=5, epoch=0.5, train=2.0),
        Loss(step=10, epoch=1, train=1.0, val=2.5),
    ]
    found = curve(losses)
    assert found is not None
    assert (found.plot.ticks, found.first, found.final) == ([1.0, 1.5, 2.0, 2.5, 3.0], 0, 10)
    train, val = found.plot.lines
    assert (train.points, train.dots) == ("0,0 50,50 100,100", [])
    assert val.dots == [(0.0, 50.0), (100.0, 25.0)]
    assert found.best is losses[0]
    assert found.last is losses[2]


def test_there_is_no_curve_of_one_point() -> None:
    """A single step, none at all, or losses that are not numbers draw nothing."""
    assert curve([]) is None
    assert curve([Loss(step=1, epoch=1, train=2.0)]) is None
    assert curve([Loss(step=step, epoch=1, train=math.nan) for step in range(3)]) is None


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_every_loss_has_its_place(values: list[float]) -> None:
    """Whatever the losses are, all lie within the plot, and the ticks are few and in order."""
    found = curve([Loss(step=step, epoch=0, val=value) for step, value in enumerate(values)])
    assert found is not None
    ticks = found.plot.ticks
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in found.plot.lines[1].dots)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= min(values) + 1e-9
    assert max(values) - 1e-9 <= ticks[-1]
    assert len(ticks) <= 6


def test_lines_over_loads() -> None:
    """Loads stand across by their logarithms, figures up from 0; what was not measured leaves a gap and no point."""
    found = lines([1, 4, 16], {"p50": [1.0, 2.0, 4.0], "p99": [None, 3.0, 4.0]}, {"knee": 4, "saturation": 4})
    assert found.ticks == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found.across == [(0.0, "1"), (50.0, "4"), (100.0, "16")]
    assert [(line.name, line.hue, line.points) for line in found.lines] == [
        ("p50", "m1", "0,75 50,50 100,0"),
        ("p99", "m2", "50,25 100,0"),
    ]
    assert found.marks == [(50.0, "knee, saturation")]


def test_places_keep_to_the_plot() -> None:
    """What lies beyond the axis stands at its end."""
    assert [place(value, [1, 3]) for value in (0, 1, 2, 9)] == [0, 0, 50, 100]
