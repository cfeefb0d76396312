"""What is printed on a page, as MuPDF itself writes it in JSON: the lines by blocks, each with its font and its place.

PyMuPDF's functions give the same. But `extractBLOCKS` takes a sixth of the time of a bare extraction, for the places of
all letters, which are not needed here, and `extractDICT`, which builds a dictionary for every line, more than the whole
extraction of its page. A test holds that the texts are equal.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.parsing.layout import UNITS, Layout, Line, Page

__all__ = ["PageText", "Unreadable", "blocks", "printed", "read_layout"]


class Unreadable(Exception):
    """MuPDF cannot make sense of a page, or we of what it writes."""


class PageText(msgspec.Struct, frozen=True, kw_only=True):
    """What MuPDF writes of one page: in JSON, which has no signs of raised letters, and in XHTML, which has ``<sup>``.

    ``width`` and ``height`` are those of the page, in points.
    """

    json: str
    xhtml: str
    width: float
    height: float


class _Block(msgspec.Struct):
    lines: list[Line] = []


class _Page(msgspec.Struct):
    blocks: list[_Block]


_page = msgspec.json.Decoder(_Page)


def read_layout(document: Any, flags: int, *, max_characters: int) -> Layout | None:
    """All pages of an open document; None where they have more than `max_characters`."""
    lines: list[Line] = []
    page_of: list[int] = []
    block_of: list[int] = []
    pages: list[Page] = []
    unreadable: set[int] = set()
    characters = block = 0
    for number in range(document.page_count):
        first = len(lines)
        try:
            page = printed(document, number, flags)
            found = blocks(page)
        except Unreadable:
            unreadable.add(number)
            pages.append(Page(lines=range(first, first), width=0, height=0))
            continue
        for own in found:
            block += 1
            lines += own
            block_of += [block] * len(own)
        page_of += [number] * (len(lines) - first)
        raised = page.xhtml if "<sup>" in page.xhtml else ""
        pages.append(Page(lines=range(first, len(lines)), width=page.width, height=page.height, raised=raised))
        characters += sum(len(line.text) for line in lines[first:])
        if characters > max_characters:
            return None
    return Layout(lines=lines, page_of=page_of, block_of=block_of, pages=pages, unreadable=frozenset(unreadable))


def printed(document: Any, number: int, flags: int) -> PageText:
    """Page `number`, counted from 0; `flags` are PyMuPDF's for text. Raises `Unreadable`.

    What the system refuses, as memory, is not the page's fault: that is MuPDF's ``FzErrorSystem``, as it comes.
    """
    from pymupdf import mupdf

    try:
        text_page = document.load_page(number).get_textpage(flags=flags)
        box = text_page.this.m_internal.mediabox
        json = _written(lambda output: mupdf.fz_print_stext_page_as_json(output, text_page.this, UNITS))
        xhtml = _written(lambda output: mupdf.fz_print_stext_page_as_xhtml(output, text_page.this, number))
    except mupdf.FzErrorSystem:
        raise
    except (mupdf.FzErrorBase, RuntimeError, ValueError) as error:
        raise Unreadable from error
    return PageText(json=json, xhtml=xhtml, width=box.x1 - box.x0, height=box.y1 - box.y0)


def _written(write: Any) -> str:
    from pymupdf import mupdf

    buffer = mupdf.fz_new_buffer(1 << 15)  # bytes, to begin with
    output = mupdf.FzOutput(buffer)
    write(output)
    mupdf.fz_close_output(output)
    data: bytes = mupdf.fz_buffer_extract_copy(buffer)
    return data.decode("utf-8", "replace")  # a lone surrogate, which is no character, is written as if it were one


def blocks(page: PageText) -> list[list[Line]]:
    """The lines of each block of a page, in reading order. Raises `Unreadable`."""
    try:
        return [block.lines for block in _page.decode(page.json).blocks]
    except msgspec.DecodeError as error:
        raise Unreadable from error
