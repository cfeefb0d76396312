"""What a parser makes of a paper, whatever kind of file it was: a title, cleaned text, where its headings stand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

__all__ = ["MAX_CHARACTERS", "MIN_CHARACTERS", "Extracted", "Heading", "LeftOut", "Part", "TableRows"]

MIN_CHARACTERS = 100
"""Letters and digits that a paper has at least; a cover page says less, an abstract more."""

MAX_CHARACTERS = 20_000_000


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """A heading that stands in the text: ``pages[page][start:]`` begins with it.

    ``level`` is 1 for the outermost; the title of the paper is no heading. ``page`` counts from 0.
    """

    level: int
    title: str
    page: int
    start: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """From ``pages[page][start:]`` on the text is of this kind: "references", or "" for the body. ``page`` from 0."""

    kind: str
    page: int
    start: int


class TableRows(msgspec.Struct, frozen=True, kw_only=True):
    """``pages[page][start:end]`` are rows of a table, under the cells of ``header``, cleaned. ``page`` counts from 0."""

    header: str
    page: int
    start: int
    end: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Text of one page, from 0, that is not in the document, as it is printed; ``kind`` as "references"."""

    kind: str
    page: int
    text: str


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What a paper says. ``pages`` are cleaned, "" where a page has no text or is unreadable; ``title`` may be "".

    ``paged`` is False for a kind of file without pages: its whole text is one entry of ``pages``, and its chunks name
    page 0. ``headings`` and ``parts`` stand in the order of the text; what stands before the first part is body. ``tables`` are rows whose header is known.
    ``left_out`` counts the characters of the paper that are not in ``pages``, by what they are ("references"), and
    ``omitted`` is their text, where the parser gives it. ``repaired`` says that the file's structure was damaged and
    rebuilt, so that text may be missing. ``recognised_pages``, counted from 1, were pictures that Tesseract has read.
    ``remarks`` are more of what the user should know, each a phrase.
    """

    title: str
    pages: list[str]
    paged: bool = True
    headings: list[Heading] = []
    parts: list[Part] = []
    tables: list[TableRows] = []
    left_out: dict[str, int] = {}
    omitted: list[LeftOut] = []
    unreadable_pages: int = 0
    repaired: bool = False
    recognised_pages: list[int] = []
    remarks: list[str] = []

    @property
    def note(self) -> str:
        """What of the paper could not be read, in words; "" when nothing is known to be missing."""
        parts = []
        if self.unreadable_pages:
            parts.append(f"{self.unreadable_pages} of {len(self.pages)} pages could not be read")
        omitted = {each.page for each in self.omitted}
        empty = sum(not page and number not in omitted for number, page in enumerate(self.pages))
        if silent := empty - self.unreadable_pages:
            parts.append(f"{silent} of {len(self.pages)} pages hold no text")
        if self.repaired:
            parts.append("the file was damaged and repaired: text may be missing")
        if self.recognised_pages:
            parts.append(
                f"Tesseract has read the pictures of pages {_ranges(self.recognised_pages)}: expect errors in words"
            )
        return "; ".join([*parts, *self.remarks])


def _ranges(pages: Sequence[int]) -> str:
    """Numbers that follow each other as one range: "1-3, 7"."""
    firsts = [page for before, page in pairwise([-1, *pages]) if page != before + 1]
    lasts = [page for page, after in pairwise([*pages, -1]) if after != page + 1]
    return ", ".join(
        f"{first}" if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True)
    )
