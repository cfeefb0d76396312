"""The lines of a whole paper in reading order, each with its font and place, and the texts that are made of them.

What reads a paper's layout (`references`, `furniture`, `floats`, …) is a function of a `Layout`. It names lines by
their numbers, which are their indexes in ``Layout.lines``, and changes none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

import msgspec

__all__ = ["Box", "Font", "Layout", "Line", "Page", "Segment", "printed_text", "running_as_most", "segments"]

UNITS = 16  # to a point: MuPDF rounds to whole numbers
SAMPLE = 500  # lines that tell the size of a paper's print


class Box(msgspec.Struct, frozen=True, gc=False):
    """Left and upper edge, width and height, in sixteenths of a point; y grows downwards."""

    x: int
    y: int
    w: int
    h: int


class Font(msgspec.Struct, frozen=True, gc=False):
    """That of a line's first letter. ``size`` is in sixteenths of a point; ``weight`` is "normal" or "bold"."""

    name: str
    weight: str
    style: str
    size: int


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line as MuPDF found it. ``x`` and ``y`` are the origin of its first letter on the baseline, in sixteenths.

    The properties are in points.
    """

    text: str
    bbox: Box
    font: Font
    x: int
    y: int

    @property
    def size(self) -> float:
        return self.font.size / UNITS

    @property
    def left(self) -> float:
        return self.bbox.x / UNITS

    @property
    def right(self) -> float:
        return (self.bbox.x + self.bbox.w) / UNITS

    @property
    def top(self) -> float:
        return self.bbox.y / UNITS

    @property
    def bottom(self) -> float:
        return (self.bbox.y + self.bbox.h) / UNITS

    @property
    def is_bold(self) -> bool:
        return self.font.weight == "bold"

    @property
    def way(self) -> str:
        """Which way it runs: "across", "down" or "askew"; that of a single letter is a guess."""
        across, down = self.bbox.h <= 2 * self.font.size, self.bbox.w <= 2 * self.font.size
        return "across" if across else "down" if down else "askew"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the lines of one page, and its size in points.

    ``raised`` is the page in MuPDF's XHTML, where ``<sup>`` marks raised letters; "" where there are none.
    """

    lines: range
    width: float
    height: float
    raised: str = ""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All lines of a paper in reading order.

    ``page_of`` and ``block_of`` have the page (from 0) and the block (from 0, over the whole paper) of each line. A page
    that could not be read has no lines and is in ``unreadable``.
    """

    lines: list[Line]
    page_of: list[int]
    block_of: list[int]
    pages: list[Page]
    unreadable: frozenset[int] = frozenset()

    def body_size(self) -> int:
        """The size of most letters, in sixteenths of a point; 0 if there are none. A sample of a long paper tells it."""
        letters: dict[int, int] = {}
        for line in self.lines[:: 1 + len(self.lines) // SAMPLE]:
            letters[line.font.size] = letters.get(line.font.size, 0) + len(line.text)
        return max(letters, key=lambda size: letters[size], default=0)


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one page that belong together, as they are printed: what is cleaned as one text.

    ``first`` is the number of its first line; ``part`` is what it belongs to, as "references", "" where it is the body.
    ``table`` is the number of the table whose rows it holds, -1 where it holds none.
    """

    page: int
    first: int
    text: str
    part: str = ""
    table: int = -1


def segments(
    layout: Layout,
    order: Iterable[int],
    *,
    texts: Mapping[int, str] = MappingProxyType({}),
    parts: Mapping[int, str] = MappingProxyType({}),
    tables: Mapping[int, int] = MappingProxyType({}),
    starts: Collection[int] = (),
) -> Iterator[Segment]:
    """The lines numbered in `order`, cut where a page, a part or a table ends and before each line in `starts`.

    `texts` replaces the text of lines, `parts` names the part of those that are not the body's, and `tables` has the
    number of the table of those that are rows of one. A line that is ordered behind one of a later page counts as that
    page's.
    """
    page, part, table, own = -1, "", -1, list[int]()

    def segment() -> Segment:
        return Segment(page=page, first=own[0], text=printed_text(layout, own, texts), part=part, table=table)

    for number in order:
        its_page, its_part = max(page, layout.page_of[number]), parts.get(number, "")
        its_table = tables.get(number, -1)
        if own and (its_page != page or its_part != part or its_table != table or number in starts):
            yield segment()
            own = []
        page, part, table = its_page, its_part, its_table
        own.append(number)
    if own:
        yield segment()


def printed_text(layout: Layout, numbers: Iterable[int], texts: Mapping[int, str] = MappingProxyType({})) -> str:
    """The text of some lines: each ends with a line feed, each block but the last with two more."""
    lines, block_of = layout.lines, layout.block_of
    return "\n\n".join(
        "".join([f"{texts.get(number, lines[number].text)}\n" for number in own])
        for _, own in groupby(numbers, block_of.__getitem__)
    )


def running_as_most(lines: Sequence[Line]) -> list[Line]:
    """The lines with text that run the way most of the text runs: stamps in the margin do not."""
    seen = [line for line in lines if line.text.strip()]
    letters = Counter[str]()
    for line in seen:
        letters[line.way] += len(line.text)
    most = max(letters, key=lambda way: letters[way], default="")
    return [line for line in seen if line.way == most]
