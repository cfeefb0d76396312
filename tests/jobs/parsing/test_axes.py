from __future__ import annotations

import pytest
from printed_papers import Print, column, layout_of, prose, texts, written

from jobs.parsing.axes import find_axes
from jobs.parsing.parsers import Options
from jobs.parsing.pdf import read

WIDE = [0, 50, 100, 150, 200]
SHARES = ["0.8", "0.6", "0.4", "0.2", "0.0"]


def along(values: list[object], y: float, x: float = 100, step: float = 40) -> list[Print]:
    return [Print(x + step * at, y, str(value), 7) for at, value in enumerate(values)]


def up(values: list[object], x: float, y: float = 300, step: float = 20) -> list[Print]:
    return [Print(x, y + step * at, str(value), 7) for at, value in enumerate(values)]


def axes_of(page: list[Print]) -> list[str]:
    layout = layout_of([page])
    return sorted(texts(layout, find_axes(layout, range(len(layout.lines)))))


def test_numbers_along_an_axis_are_found() -> None:
    """In a row or a column, at equal steps; the text around them is not."""
    page = [*column(prose(5)), *up([*SHARES], 80), *along([*WIDE], 400), Print(160, 415, "days of wind", 7)]
    assert axes_of(page) == sorted([*SHARES, *map(str, WIDE)])
    assert len(axes_of([*up(["0.2", "0.1", "0.0", "0.1", "0.2"], 80)])) == 5  # a plot without a minus
    assert len(axes_of([*along(["-10", "-5", "0", "5"], 80)])) == 4


@pytest.mark.parametrize(
    "page",
    [
        [*along([10, 20, 30, 40], 100), *along([31, 12, 45, 9], 110), *along([10, 20, 30, 40], 120)],
        up([1, 2, 3, 4, 5, 6], 80),
        up([3, 7, 8, 20, 41], 80),
        along([0, 50, 100], 100),
        [Print(x, 100, str(text), 7) for x, text in zip((80, 120, 200, 220), (10, 20, 30, 40), strict=True)],
        column([f"{at}. The mill turns." for at in range(5)]),
    ],
    ids=["rows of a table", "numbers of rows", "unequal values", "too few", "unequal places", "a list"],
)
def test_other_numbers_are_none(page: list[Print]) -> None:
    """Cells of tables, the numbers of rows, and what only looks like an axis."""
    assert axes_of(page) == []


def test_they_are_left_out_and_counted() -> None:
    """Or kept, as asked for; they cut no text."""
    page = [*column(prose(9)), *up([*SHARES], 80, y=300), *along([*WIDE], 420), *column(["Fig. 1. Wind."], y=450)]
    document = written([page])
    left = read(document, "", Options())
    assert left.left_out["axes"] > len("".join(SHARES))
    assert "0.6" not in left.pages[0]
    assert "Fig. 1. Wind." in left.pages[0]
    assert [each.kind for each in left.omitted] == ["axes"]
    kept = read(document, "", Options(axes="keep"))
    assert kept.left_out == {}
    assert "0.6" in kept.pages[0]
