"""Which lines are the numbers along the axes of plots: equal steps of value at equal steps of place.

"0", "50", "100", "150" in a row or in a column say nothing without the plot. Rows of a table, which may count like that,
have others right above or below; columns that count by ones may number the rows of a table, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from jobs.parsing.layout import UNITS, Layout, Line

__all__ = ["find_axes"]

FEWEST = 4  # numbers of an axis
MOST = 40
NEAR = 4  # heights of a line from a row to the next one of a table, at most
BESIDE = 12 * UNITS  # how far apart the middles of a column's numbers are, at most
_NUMBER = re.compile(r"\s*([-−–]?(?:\d+(?:[.,]\d+)?|[.,]\d+))\s*%?\s*")
_SIGNS = frozenset("-−–.,0123456789")


def find_axes(layout: Layout, numbers: Iterable[int]) -> set[int]:
    """Those of the lines `numbers`, in reading order, that are numbers along an axis."""
    lines = layout.lines
    found: set[int] = set()
    for own in _runs(layout, numbers):
        values = [value for _, value in own]
        start = 0
        while start + FEWEST <= len(own):
            end = _end_of_progression(values, start)
            marks = [lines[number] for number, _ in own[start:end]]
            if end - start >= FEWEST and _is_axis(marks, values[start + 1] - values[start], values[start], layout, own):
                found.update(number for number, _ in own[start:end])
                start = end
            else:
                start = max(start + 1, end - 1) if end - start >= FEWEST else start + 1
    return found


def _runs(layout: Layout, numbers: Iterable[int]) -> Iterator[list[tuple[int, float]]]:
    """Lines that follow each other on a page and hold one number each, with that."""
    held: list[tuple[int, float]] = []
    page = -1
    for number in numbers:
        text = layout.lines[number].text
        match = _NUMBER.fullmatch(text) if text[:1] in _SIGNS or text[:1] == " " else None
        if held and (match is None or layout.page_of[number] != page):
            if len(held) >= FEWEST:
                yield held
            held = []
        if match is not None:
            page = layout.page_of[number]
            held.append((number, _value(match[1])))
    if len(held) >= FEWEST:
        yield held


def _value(text: str) -> float:
    return float(text.replace("−", "-").replace("–", "-").replace(",", "."))


def _end_of_progression(values: Sequence[float], start: int) -> int:
    """The end of the numbers from `start` on that have equal steps; at zero they may turn, where a plot has no minus."""
    step = values[start + 1] - values[start]
    end = start + 1
    while step and end < min(len(values), start + MOST):
        if values[end - 1] == 0 and values[end] > 0 and step < 0:
            step = -step
        if abs(values[end] - values[end - 1] - step) >= abs(step) / 100:
            break
        end += 1
    return end


def _is_axis(
    marks: Sequence[Line], step: float, first: float, layout: Layout, own: Sequence[tuple[int, float]]
) -> bool:
    middles = [2 * mark.bbox.x + mark.bbox.w for mark in marks]
    if max(mark.y for mark in marks) - min(mark.y for mark in marks) < UNITS:
        return _is_even([middle // 2 for middle in middles]) and not _is_of_table(marks, layout, own[0][0])
    is_column = max(middles) - min(middles) <= 2 * BESIDE
    return is_column and _is_even([mark.y for mark in marks]) and (abs(step) != 1 or first == 0)


def _is_even(places: Sequence[int]) -> bool:
    mean = (places[-1] - places[0]) / (len(places) - 1)
    return all(abs(after - before - mean) < abs(mean) / 8 + UNITS for before, after in pairwise(places)) and (
        abs(mean) > 2 * UNITS
    )


def _is_of_table(marks: Sequence[Line], layout: Layout, number: int) -> bool:
    """Whether numbers stand right above or below most of a row's."""
    far = NEAR * marks[0].bbox.h
    page = layout.pages[layout.page_of[number]]
    near = [
        line
        for line in (layout.lines[each] for each in page.lines)
        if UNITS < abs(line.y - marks[0].y) < far and any(sign.isdecimal() for sign in line.text)
    ]
    return any(
        2 * sum(any(_overlap(mark, line) for line in near if (line.y > marks[0].y) == is_below) for mark in marks)
        > len(marks)
        for is_below in (True, False)
    )


def _overlap(one: Line, other: Line) -> bool:
    return one.bbox.x < other.bbox.x + other.bbox.w and other.bbox.x < one.bbox.x + one.bbox.w
