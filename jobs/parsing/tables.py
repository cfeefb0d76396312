"""Tables of numbers, by their boxes: which lines are rows, and which cells stand above them as their header.

A row is three lines or more that follow each other on one baseline, most of them numbers; three rows with columns at the
same places are a table. The cells above its first row are the header. Rows that go on at the top of the next page, in
the same columns and without cells above them, have the header of the page before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from jobs.parsing.layout import UNITS, Layout, Line
from jobs.parsing.section_names import FLOATS

__all__ = ["Table", "find_tables"]

CELLS = 3  # of a row, at least
ROWS = 3
HEADER_LINES = 100
CAPTION_LINES = 4
GAP = 3  # heights of a line between two lines of a header, at most
SAME = 4 * UNITS  # how far apart the places of a column are, at most
_CAPTION = re.compile(rf"\s*(?:{FLOATS}) ?(?:[A-Z]?\.?\d|[IVX]+\b)", re.IGNORECASE)
_OF_TABLE = re.compile(r"\s*(?:tab|表)", re.IGNORECASE)
_NUMBER = re.compile(r"\s*(?:[-−–+±<>≤≥=~∼≈(*⋆]*\s*[.,]?\d|[-–—−]+\s*$)")
_WORD = re.compile(r"[^\W\d_]{3}")


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a table's rows on one page, and those of its header, which may stand on a page before, by number.

    ``header`` begins with the caption where that stands right above the cells.
    """

    rows: range
    header: tuple[int, ...]


class _Row(msgspec.Struct, frozen=True):
    """Lines on one baseline, from left to right: where they are among the lines that are looked at, and how many."""

    at: int
    count: int


def find_tables(layout: Layout, numbers: Iterable[int]) -> list[Table]:
    """The tables with a header among the lines `numbers`, in reading order."""
    kept = list(numbers)
    found: list[Table] = []
    before: list[Line] = []  # the first row of the last table, if that ends its page
    header: tuple[int, ...] = ()
    start = 0
    for end in _page_ends(layout, kept):
        lines = [layout.lines[number] for number in kept[start:end]]
        last = 0
        for rows in _runs(lines):
            first, behind = rows[0].at, rows[-1].at + rows[-1].count
            cells = lines[first : first + rows[0].count]
            if above := _header(lines, last, first, cells):
                header = tuple(kept[start + at] for at in [*_caption(lines, last, above[0], behind), *above])
            elif first - last > 1 or last or not before or not _alike(before, cells):
                header = ()
            if header:
                found.append(Table(rows=range(kept[start + first], kept[start + behind - 1] + 1), header=header))
            before, last = cells, behind
        if last < len(lines) - 1 or not last:
            before = []
        start = end
    return found


def _page_ends(layout: Layout, kept: Sequence[int]) -> Iterator[int]:
    """Where in `kept` the lines of each page end."""
    for at, number in enumerate(kept):
        if at + 1 == len(kept) or layout.page_of[kept[at + 1]] != layout.page_of[number]:
            yield at + 1


def _runs(lines: Sequence[Line]) -> Iterator[list[_Row]]:
    """The rows of each table of a page. A line by itself between two rows, as the name of a group, parts no table."""
    held: list[_Row] = []
    for row in _rows(lines):
        if held and (
            row.at - held[-1].at - held[-1].count > 1 or not _alike(_cells(lines, held[0]), _cells(lines, row))
        ):
            if len(held) >= ROWS:
                yield held
            held = []
        held.append(row)
    if len(held) >= ROWS:
        yield held


def _rows(lines: Sequence[Line]) -> Iterator[_Row]:
    """The rows of numbers of a page."""
    at = 0
    while at + 1 < len(lines):
        line, after = lines[at], lines[at + 1]
        if -UNITS < after.y - line.y < UNITS and after.x > line.x:
            end = at + 2
            while end < len(lines) and _follows(lines[end - 1], lines[end], line):
                end += 1
            if end - at >= CELLS and _has_numbers(lines[at:end]) and not _has_leaders(lines[at:end]):
                yield _Row(at, end - at)
            at = end
        else:
            at += 1


def _follows(before: Line, line: Line, first: Line) -> bool:
    return abs(line.y - first.y) < first.font.size // 2 and line.x > before.x


def _has_numbers(cells: Sequence[Line]) -> bool:
    return 2 * sum(map(_is_number, cells[1:])) >= len(cells) - 1


def _has_leaders(cells: Sequence[Line]) -> bool:
    """Whether dots lead to the last cell, as in a table of contents."""
    return any("...." in cell.text or ". . . ." in cell.text for cell in cells)


def _is_number(cell: Line) -> bool:
    return _NUMBER.match(cell.text) is not None and not _WORD.search(cell.text)


def _cells(lines: Sequence[Line], row: _Row) -> Sequence[Line]:
    return lines[row.at : row.at + row.count]


def _alike(one: Sequence[Line], other: Sequence[Line]) -> bool:
    """Whether most cells of the shorter row stand below those of the other one: their left, middle or right is the same."""
    short, long = sorted((one, other), key=len)
    return 3 * sum(any(_in_column(cell, each) for each in long) for cell in short) >= 2 * len(short)


def _in_column(one: Line, other: Line) -> bool:
    left, right = one.bbox.x - other.bbox.x, one.bbox.x + one.bbox.w - other.bbox.x - other.bbox.w
    return abs(left) <= SAME or abs(right) <= SAME or abs(left + right) <= 2 * SAME


def _header(lines: Sequence[Line], last: int, first: int, cells: Sequence[Line]) -> list[int]:
    """The lines between the table before, which ends at `last`, and the row of `cells` at `first` that are its header."""
    margin = 2 * cells[0].bbox.h
    left, right = cells[0].bbox.x - margin, cells[-1].bbox.x + cells[-1].bbox.w + margin
    top = cells[0].bbox.y
    at = first
    while at > max(last, first - HEADER_LINES) and _is_above(lines[at - 1], left, right, top, cells[0]):
        at -= 1
        top = min(top, lines[at].bbox.y)
    own = list(range(at, first))
    while own and _is_alone(lines, own[-1], first):  # the name of the first group of rows
        own.pop()
    while own and lines[own[0]].text.rstrip().endswith(".") and _is_alone(lines, own[0], first):  # a caption's end
        del own[0]
    heads = sum(any(_overlap(cell, lines[number]) for number in own) for cell in cells[1:])
    numbers = sum(_is_number(lines[number]) for number in own)
    return own if len(own) > 1 and 2 * heads >= len(cells) - 1 and 2 * numbers <= len(own) else []


def _is_above(line: Line, left: int, right: int, top: int, cell: Line) -> bool:
    """Whether a line is a cell above the row of `cell` and near what begins at `top`: inside of the table, and narrow."""
    box = line.bbox
    if box.x < left or box.x + box.w > right or 2 * box.w > right - left or _CAPTION.match(line.text):
        return False
    return top - GAP * cell.bbox.h <= box.y + box.h and box.y + box.h < cell.bbox.y + cell.bbox.h


def _caption(lines: Sequence[Line], last: int, header: int, behind: int) -> list[int]:
    """The lines of the caption right above the header; none where one follows the rows, which may be theirs."""
    if any(_is_caption(line) for line in lines[behind : behind + 2]):
        return []
    for at in range(header - 1, max(last, header - CAPTION_LINES) - 1, -1):
        if _is_caption(lines[at]):
            return list(range(at, header))
    return []


def _is_caption(line: Line) -> bool:
    return _OF_TABLE.match(line.text) is not None and _CAPTION.match(line.text) is not None


def _is_alone(lines: Sequence[Line], number: int, first: int) -> bool:
    y = lines[number].y
    around = [lines[at] for at in range(max(0, number - HEADER_LINES), first) if at != number]
    return not any(abs(line.y - y) < UNITS for line in around)


def _overlap(one: Line, other: Line) -> bool:
    return one.bbox.x < other.bbox.x + other.bbox.w and other.bbox.x < one.bbox.x + one.bbox.w
