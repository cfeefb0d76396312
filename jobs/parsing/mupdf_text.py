"""What is printed on a page, as MuPDF itself writes it in JSON: the text by blocks and lines, and each line's place.

PyMuPDF's functions give the same. But `extractBLOCKS` takes a sixth of the time of a bare extraction, for the places of
all letters, which nobody asks for here, and `extractDICT`, which builds a dictionary for every line, more than the whole
extraction of its page. A test holds that the texts are equal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

import msgspec

from jobs.parsing.title import Line

__all__ = ["Unreadable", "printed", "printed_lines", "printed_text"]

UNITS = 16  # to a point: MuPDF rounds to whole numbers


class Unreadable(Exception):
    """MuPDF cannot make sense of a page, or we of what it writes."""


class _Text(msgspec.Struct):
    text: str


class _TextBlock(msgspec.Struct):
    lines: list[_Text] = []


class _TextPage(msgspec.Struct):
    blocks: list[_TextBlock]


class _Box(msgspec.Struct):
    y: int
    w: int
    h: int


class _Font(msgspec.Struct):
    size: int


class _Line(msgspec.Struct):
    """The font is that of the first letter."""

    text: str
    bbox: _Box
    font: _Font

    @property
    def way(self) -> str:
        """Which way it runs; that of a single letter is a guess."""
        across, down = self.bbox.h <= 2 * self.font.size, self.bbox.w <= 2 * self.font.size
        return "across" if across else "down" if down else "askew"


class _Block(msgspec.Struct):
    lines: list[_Line] = []


class _Page(msgspec.Struct):
    blocks: list[_Block]


_text_page = msgspec.json.Decoder(_TextPage)
_page = msgspec.json.Decoder(_Page)
P = TypeVar("P", _TextPage, _Page)


def printed(document: Any, number: int, flags: int) -> str:
    """Page `number`, counted from 0, in JSON; `flags` are PyMuPDF's for text. Raises `Unreadable`.

    What the system refuses, as memory, is not the page's fault: that is MuPDF's ``FzErrorSystem``, as it comes.
    """
    from pymupdf import mupdf

    try:
        text_page = document.load_page(number).get_textpage(flags=flags)
        buffer = mupdf.fz_new_buffer(1 << 15)  # bytes, to begin with
        output = mupdf.FzOutput(buffer)
        mupdf.fz_print_stext_page_as_json(output, text_page.this, UNITS)
        mupdf.fz_close_output(output)
        page: bytes = mupdf.fz_buffer_extract_copy(buffer)
    except mupdf.FzErrorSystem:
        raise
    except (mupdf.FzErrorBase, RuntimeError, ValueError) as error:
        raise Unreadable from error
    return page.decode("utf-8", "replace")  # a lone surrogate, which is no character, is written as if it were one


def printed_text(page: str) -> str:
    """The text: each line ends with a line feed, each block but the last with two more. Raises `Unreadable`."""
    blocks = _decoded(_text_page, page).blocks
    return "\n\n".join("".join([f"{line.text}\n" for line in block.lines]) for block in blocks)


def printed_lines(page: str) -> list[Line]:
    """The lines that run the way most of the page runs: stamps in the margin do not. Raises `Unreadable`."""
    lines = [line for block in _decoded(_page, page).blocks for line in block.lines if line.text.strip()]
    letters = Counter[str]()
    for line in lines:
        letters[line.way] += len(line.text)
    most = max(letters, key=lambda way: letters[way], default="")
    return [
        Line(
            text=line.text,
            size=line.font.size / UNITS,
            top=line.bbox.y / UNITS,
            bottom=(line.bbox.y + line.bbox.h) / UNITS,
        )
        for line in lines
        if line.way == most
    ]


def _decoded(decoder: msgspec.json.Decoder[P], page: str) -> P:
    try:
        return decoder.decode(page)
    except msgspec.DecodeError as error:
        raise Unreadable from error
