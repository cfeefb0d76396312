"""Plots as SVG text: horizontal bars, drawn by a template, for RESULTS.md to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["Bar", "bars"]

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STEPS = (1, 2, 5)


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar from `start` to `end`, in the unit of the axis; `note` stands behind it, `ours` gives it the strong colour."""

    label: str
    end: float
    start: float = 0.0
    note: str = ""
    ours: bool = False


def bars(title: str, given: Sequence[Bar], *, unit: str, logarithmic: bool = False) -> str:
    """An SVG picture. A logarithmic axis begins at the power of ten below the least end."""
    ends = [bar.end for bar in given]
    ticks = _powers(min(ends), max(ends)) if logarithmic else _round(max(ends))

    def place(value: float) -> float:
        """In thousandths of the axis."""
        if not logarithmic:
            return 1000 * value / ticks[-1]
        low, high = math.log10(ticks[0]), math.log10(ticks[-1])
        return 1000 * (math.log10(max(value, ticks[0])) - low) / (high - low)

    return _TEMPLATES.get_template("bars.svg.jinja").render(
        title=title, bars=given, unit=unit, ticks=ticks, place=place
    )


def _powers(least: float, greatest: float) -> list[float]:
    return [10.0**power for power in range(math.floor(math.log10(least)), math.floor(math.log10(greatest)) + 2)]


def _round(greatest: float) -> list[float]:
    """From 0 in at most six round steps to what is not below `greatest`."""
    power = 10.0 ** math.floor(math.log10(greatest) - 1)
    step = next(step * power * ten for ten in (1, 10) for step in _STEPS if step * power * ten * 6 >= greatest)
    return [step * number for number in range(math.ceil(greatest / step) + 1)]
