"""From the segments of a paper to the cleaned text of its pages, and where in it headings and other parts start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from jobs.parsing.arrange import Arranged
from jobs.parsing.cleaning import clean, clean_pages
from jobs.parsing.extracted import Heading, Part, TableRows
from jobs.parsing.heading_candidates import OutlineEntry
from jobs.parsing.headings import Found

__all__ = ["PageTexts", "outline", "page_texts", "segment_starts"]

MOST_ENTRIES = 2000
"""Of an outline; a book has fewer."""


class PageTexts(msgspec.Struct, frozen=True, kw_only=True):
    """The cleaned text of each page, "" where there is none, and what starts where."""

    pages: list[str]
    parts: list[Part]
    headings: list[Heading]
    tables: list[TableRows]


def outline(document: Any) -> list[OutlineEntry]:
    """The outline of an open PDF; none where it cannot be read."""
    from pymupdf import mupdf

    try:
        entries = document.get_toc()[:MOST_ENTRIES]
    except mupdf.FzErrorSystem:
        raise
    except (mupdf.FzErrorBase, RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        return []  # PyMuPDF trips over a broken one in many ways; the text can do without
    return [OutlineEntry(level=level, title=title, page=page - 1) for level, title, page in entries]


def segment_starts(found: Sequence[Found], skipped: Collection[int]) -> set[int]:
    """The lines at which segments are to start, so that each heading stands by itself: its first, and the one behind it."""
    return {number for each in found for number in _starts(each, skipped)}


def _starts(heading: Found, skipped: Collection[int]) -> Iterator[int]:
    yield heading.lines[0]
    if not heading.runs_in:
        after = heading.lines[-1] + 1
        while after in skipped:
            after += 1
        yield after


def page_texts(arranged: Arranged, count: int, found: Mapping[int, Found]) -> PageTexts:
    """Clean the texts of a paper of `count` pages; `found` are its headings by their first line."""
    segments = arranged.segments
    texts: list[list[str]] = [[] for _ in range(count)]
    ends = [0] * count
    parts: list[Part] = []
    headings: list[Heading] = []
    tables: list[TableRows] = []
    last = ""
    for segment, text in zip(segments, clean_pages([segment.text for segment in segments]), strict=True):
        if not text:
            continue
        page, start = segment.page, ends[segment.page]
        if segment.part != last:
            parts.append(Part(kind=segment.part, page=page, start=start))
            last = segment.part
        if heading := found.get(segment.first):
            title = " ".join(clean(heading.title).split())
            headings.append(Heading(level=heading.level, title=title, page=page, start=start))
        if segment.table >= 0:
            header = " ".join(clean(arranged.table_headers[segment.table]).split())
            tables.append(TableRows(header=header, page=page, start=start, end=start + len(text)))
        texts[page].append(text)
        ends[page] = start + len(text) + 2
    return PageTexts(pages=["\n\n".join(own) for own in texts], parts=parts, headings=headings, tables=tables)
