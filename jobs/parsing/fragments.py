"""Pages that come out of MuPDF in pieces of words, read again by PDFium.

Some files, most of them made from TeX before 2000, place every few letters by themselves, in fonts of which MuPDF knows
no widths: "F", "acilit", "y". It makes each piece a line. PDFium looks at the shapes, and joins them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_double
from itertools import pairwise
from typing import Any

import msgspec

from jobs.parsing.layout import UNITS, Box, Font, Layout, Line, Page

__all__ = ["pages_in_fragments", "with_whole_words"]

FEWEST_LINES = 50  # of a page, before their likeness says something
TOUCHING = 0.1  # of lines that begin where the one before ends; it is none on any common page

_TEX = {"\x0b": "ff", "\x0c": "fi", "\r": "fl", "\x0e": "ffi", "\x0f": "ffl"}  # the ligatures in TeX's own encoding
_LIGATURE = re.compile(r"[\x0b-\x0f](?=[a-z])|(?<=[a-z])[\x0b-\x0f]")
_HYPHEN = "\x02"  # PDFium's sign for one that stands at a line's end


def pages_in_fragments(layout: Layout) -> list[int]:
    """The pages that are in fragments, from 0."""
    return [number for number, page in enumerate(layout.pages) if _in_fragments(_lines(layout, page))]


def with_whole_words(layout: Layout, data: bytes, wrong: Sequence[int]) -> Layout:
    """`layout`, with the pages in `wrong` as PDFium reads them from `data`, the bytes of the file."""
    read = _read(data, wrong)
    pages = [
        read.get(number, (page.width, page.height, _blocks(layout, page))) for number, page in enumerate(layout.pages)
    ]
    lines: list[Line] = []
    page_of: list[int] = []
    block_of: list[int] = []
    made: list[Page] = []
    for number, (width, height, blocks) in enumerate(pages):
        first = len(lines)
        for block in blocks:
            block_of += [block_of[-1] + 1 if block_of else 0] * len(block)
            lines += block
        page_of += [number] * (len(lines) - first)
        raised = "" if number in read else layout.pages[number].raised
        made.append(Page(lines=range(first, len(lines)), width=width, height=height, raised=raised))
    return Layout(lines=lines, page_of=page_of, block_of=block_of, pages=made, unreadable=layout.unreadable)


def _in_fragments(lines: Sequence[Line]) -> bool:
    """Whether many of the lines are pieces of words: letters that touch the letters before them."""
    if len(lines) < FEWEST_LINES or sum(len(line.text) for line in lines) > 8 * len(lines):
        return False
    return sum(_touch(one, other) for one, other in pairwise(lines)) >= TOUCHING * len(lines)


def _touch(one: Line, other: Line) -> bool:
    if not (one.text[-1:].isalpha() and other.text[:1].islower()):
        return False
    a, b = one.bbox, other.bbox
    near = max(min(a.w, a.h), min(b.w, b.h)) / 5
    across = abs(a.x + a.w - b.x) <= near and a.y < b.y + b.h and b.y < a.y + a.h
    down = abs(a.y + a.h - b.y) <= near and a.x < b.x + b.w and b.x < a.x + a.w
    return across or down


def _lines(layout: Layout, page: Page) -> list[Line]:
    return layout.lines[page.lines.start : page.lines.stop]


def _blocks(layout: Layout, page: Page) -> list[list[Line]]:
    blocks: dict[int, list[Line]] = {}
    for number in page.lines:
        blocks.setdefault(layout.block_of[number], []).append(layout.lines[number])
    return list(blocks.values())


_Read = tuple[float, float, list[list[Line]]]  # width, height, blocks


def _read(data: bytes, numbers: Sequence[int]) -> dict[int, _Read]:
    """Those of the pages that PDFium can read."""
    import pypdfium2

    found: dict[int, _Read] = {}
    try:
        with pypdfium2.PdfDocument(data) as document:
            for number in numbers:
                page = document[number]
                if lines := _upright(list(_page_lines(page)), page):
                    found[number] = lines
    except pypdfium2.PdfiumError:
        pass  # the fragments are better than nothing
    return found


class _Piece(msgspec.Struct, frozen=True):
    """A line's text and its edges in points: left, top, right, bottom."""

    text: str
    box: tuple[float, float, float, float]


def _page_lines(page: Any) -> Iterator[_Piece]:
    import pypdfium2
    from pypdfium2 import raw

    text_page = page.get_textpage()
    left, _, _, upper = page.get_mediabox()
    sign_at = raw.FPDFText_GetUnicode
    signs = [chr(sign_at(text_page, number)) for number in range(text_page.count_chars())]
    edges = [c_double() for _ in range(4)]
    found = [byref(edge) for edge in edges]

    def box_of(number: int) -> tuple[float, ...]:
        """Left, right, lower and upper edge of a letter. PDFium's own wrapper makes new numbers for each."""
        if not raw.FPDFText_GetCharBox(text_page, number, *found):
            raise pypdfium2.PdfiumError("a letter has no place")
        return tuple(edge.value for edge in edges)

    start = 0
    for end in [*_ends(signs), len(signs)]:
        text = "".join(signs[start:end])
        boxes = [box_of(number) for number in range(start, end) if not signs[number].isspace()]
        if boxes:
            words = _LIGATURE.sub(lambda match: _TEX[match[0]], text.strip(" \r\n"))
            words = f"{words[:-1]}-" if words.endswith(_HYPHEN) else words
            lefts, rights, bottoms, tops = zip(*boxes, strict=True)
            yield _Piece(words, (min(lefts) - left, upper - max(tops), max(rights) - left, upper - min(bottoms)))
        start = end


def _ends(signs: Sequence[str]) -> Iterator[int]:
    """Where each line but the last ends."""
    for number, (sign, after) in enumerate(pairwise(signs), 1):
        if sign == "\n" or (sign == _HYPHEN and after.isalpha()):
            yield number


def _upright(pieces: Sequence[_Piece], page: Any) -> _Read | None:
    """The page turned so that most of its lines run across; None where it has none."""
    if not pieces:
        return None
    left, lower, right, upper = page.get_mediabox()
    width, height = right - left, upper - lower
    down = sum(len(piece.text) for piece in pieces if _is_down(piece))
    if down > sum(len(piece.text) for piece in pieces) / 2:
        pieces = [
            _Piece(each.text, (each.box[1], width - each.box[2], each.box[3], width - each.box[0])) for each in pieces
        ]
        width, height = height, width
    blocks: list[list[Line]] = []
    for line in map(_line, _joined(pieces)):
        if blocks and _follows(blocks[-1][-1], line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return width, height, blocks


def _joined(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """Pieces of one line as one: PDFium ends lines in the middle of words, too."""
    held: _Piece | None = None
    for piece in pieces:
        if held and (text := _one_line(held, piece)):
            edges = zip(held.box, piece.box, (min, min, max, max), strict=True)
            left, top, right, bottom = (choose(one, other) for one, other, choose in edges)
            held = _Piece(text, (left, top, right, bottom))
            continue
        if held:
            yield held
        held = piece
    if held:
        yield held


def _one_line(one: _Piece, other: _Piece) -> str:
    """Their text, with a blank where they stand apart by one; "" where they stand on two lines."""
    size = one.box[3] - one.box[1]
    gap, below = other.box[0] - one.box[2], other.box[3] - one.box[3]
    if not (-size / 4 < gap < size and -size / 2 < below < size / 2):
        return ""
    return f"{one.text}{other.text}" if gap < size / 6 and one.text[-1:].isalpha() else f"{one.text} {other.text}"


def _is_down(piece: _Piece) -> bool:
    left, top, right, bottom = piece.box
    return bottom - top > right - left


def _line(piece: _Piece) -> Line:
    left, top, right, bottom = (round(edge * UNITS) for edge in piece.box)
    box = Box(x=left, y=top, w=right - left, h=bottom - top)
    # From the top of capitals to the bottom of "p": the size of most fonts, in nine tenths.
    font = Font(name="", weight="normal", style="normal", size=round(box.h / 0.9))
    return Line(text=piece.text, bbox=box, font=font, x=box.x, y=box.y + box.h)


def _follows(before: Line, line: Line) -> bool:
    """Whether a line goes on in the paragraph of the one before."""
    return abs(before.size - line.size) < 0.4 * before.size and 0 < line.top - before.top < 2 * before.size
