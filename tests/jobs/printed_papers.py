"""Small papers that tests print with PyMuPDF, line by line, and their layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pymupdf

from jobs.parsing.layout import Layout
from jobs.parsing.mupdf_text import read_layout

__all__ = ["Print", "column", "layout_of", "prose", "reference_list", "texts", "written"]

FLAGS = pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE


class Print(msgspec.Struct, frozen=True):
    """One text, from its left end on the baseline, in points. ``turned`` runs up the page."""

    x: float
    y: float
    text: str
    size: float = 10
    turned: bool = False


def prose(lines: int, about: str = "mill") -> list[str]:
    """Lines of plain text, all of them different; the last one ends a sentence."""
    nouns = ("grain", "stone", "water", "wheel", "flour", "sail", "river", "field", "cart", "sack", "roof")
    found = [
        f"the {about} turns {nouns[number % 11]} after {nouns[number * 3 % 11]} while the {nouns[number * 7 % 11]} waits for {nouns[number * 5 % 11]}"
        for number in range(lines)
    ]
    return [f"When work begins, {found[0][:46].strip()}", *found[1:-1], f"{found[-1]}."]


def reference_list(count: int) -> list[str]:
    names = ("Miller", "Brewer", "Cooper", "Fuller", "Tanner", "Weaver")
    return [
        line
        for number in range(1, count + 1)
        for line in (
            f"[{number}] A. {names[number % 6]}, B. C. {names[number % 5]}: Grinding of the grain number {number}.",
            f"Journal of Mills {number + 3}({number % 4 + 1}): {100 + number}-{110 + number}, {1980 + number}.",
        )
    ]


def column(texts: Iterable[str], x: float = 72, y: float = 90, size: float = 10) -> list[Print]:
    """Texts under each other, as the lines of one block."""
    return [Print(x, y + 1.2 * size * number, text, size) for number, text in enumerate(texts)]


def written(pages: Sequence[Iterable[Print]]) -> bytes:
    """A PDF with these pages."""
    with pymupdf.open() as made:
        for prints in pages:
            page = made.new_page()
            for each in prints:
                page.insert_text((each.x, each.y), each.text, fontsize=each.size, rotate=90 if each.turned else 0)
        return bytes(made.tobytes())


def layout_of(pages: Sequence[Iterable[Print]]) -> Layout:
    """The layout of a document with these pages, after it was written and read."""
    with pymupdf.open(stream=written(pages), filetype="pdf") as document:
        layout = read_layout(document, FLAGS, max_characters=10**9)
    assert layout is not None
    return layout


def texts(layout: Layout, numbers: Iterable[int]) -> list[str]:
    return [layout.lines[number].text.strip() for number in sorted(numbers)]
