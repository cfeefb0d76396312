"""Blocks of text, as a structured file has them, and the extracted document that is made of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby

import msgspec

from jobs.parsing.cleaning import clean_pages, letters_and_digits
from jobs.parsing.extracted import MAX_CHARACTERS, MIN_CHARACTERS, Extracted, Heading, LeftOut, Part, TableRows
from jobs.parsing.failures import failed
from jobs.parsing.parsers import Options

__all__ = ["Block", "Builder", "assemble"]

TABLE_ROWS = 3

_REFERENCES = re.compile(
    r"(?:[\divxlc]+[.):]*\s+)?(?:references?(?: cited| and notes)?|bibliography|literature(?: cited)?|works cited)\W*",
    re.IGNORECASE,
)
# What stands first and is no title: the name of a section.
_SECTION = re.compile(
    r"\W*(?:\d[\d.]*\s+)?(?:abstract|acknowledge?ments?|appendix|background|(?:table of )?contents|foreword|highlights|"
    r"introduction|keywords|overview|preface|summary)\W*",
    re.IGNORECASE,
)


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A paragraph, with ``is_row`` the row of a table, or with ``level``, counted from 1, a heading.

    ``kind`` is "references" where the file itself says that it is part of them.
    """

    text: str
    level: int = 0
    kind: str = ""
    is_row: bool = False


class Builder:
    """Collects running text, piece by piece, into blocks. Raises `Permanent` of kind "too_large" where it is too much."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._parts: list[str] = []
        self._characters = 0

    def add(self, text: str | None) -> None:
        if text:
            self._parts.append(text)
            self._characters += len(text)
            if self._characters > MAX_CHARACTERS:
                raise failed("too_large", f"more than {MAX_CHARACTERS:,} characters")

    @property
    def last(self) -> str:
        """The last sign of the block so far, "" at its start."""
        return self._parts[-1][-1] if self._parts else ""

    def end(self, *, level: int = 0, kind: str = "") -> None:
        """What was added since the last end is a block; its white space is single blanks. Nothing is none.

        One that ends in a bar, as each cell does, is a row, without that bar.
        """
        text = " ".join("".join(self._parts).split())
        self._parts = []
        if text:
            row = text.removesuffix(" |")
            self.blocks.append(Block(text=row, level=level, kind=kind, is_row=row != text and not level))


def assemble(blocks: Iterable[Block], options: Options, *, title: str = "", remarks: Sequence[str] = ()) -> Extracted:
    """The document of `blocks`, cleaned, as one text without pages.

    `title` is what the file says; without one, a heading that stands before all else is the title. What stands under a
    heading "References" is part of them, up to the next heading of its level or above. Raises `Permanent` of kind
    "no_text" when there are fewer than 100 letters and digits, and "too_large".
    """
    listed = _with_references(blocks)
    if sum(len(block.text) for block in listed) > MAX_CHARACTERS:
        raise failed("too_large", f"more than {MAX_CHARACTERS:,} characters")
    texts = clean_pages([block.text for block in listed])
    cleaned = [msgspec.structs.replace(block, text=text) for block, text in zip(listed, texts, strict=True) if text]
    kept = [block for block in cleaned if options.keeps(block.kind)]
    title = " ".join(clean_pages([title])[0].split())
    if not title and kept and kept[0].level and not _SECTION.fullmatch(kept[0].text):
        title = " ".join(kept[0].text.split())
    dropped = [block for block in cleaned if not options.keeps(block.kind)]
    left_out = Counter[str]()
    for block in dropped:
        left_out[block.kind] += len(block.text)
    text = "\n\n".join(block.text for block in kept)
    characters = sum(map(str.isalnum, text))
    if characters < MIN_CHARACTERS:
        raise failed("no_text", f"{characters} letters and digits")
    return Extracted(
        title=title,
        pages=[text],
        paged=False,
        headings=_headings(kept, title),
        parts=_parts(kept),
        tables=list(_tables(kept)) if options.table_headers == "repeat" else [],
        left_out=dict(left_out),
        omitted=[
            LeftOut(kind=kind, page=0, text="\n\n".join(block.text for block in run))
            for kind, run in groupby(dropped, key=lambda block: block.kind)
        ],
        remarks=list(remarks),
    )


def _with_references(blocks: Iterable[Block]) -> list[Block]:
    """The blocks, those under a heading that says so as "references"."""
    listed: list[Block] = []
    under = 0  # the level of the heading of the references that we are in
    for block in blocks:
        if block.level and (not under or block.level <= under):
            under = block.level if _REFERENCES.fullmatch(block.text.strip()) else 0
        listed.append(msgspec.structs.replace(block, kind="references") if under else block)
    return listed


def _starts(blocks: Sequence[Block]) -> Iterator[int]:
    """Where each block stands in the text of all of them."""
    return accumulate((len(block.text) + 2 for block in blocks), initial=0)


def _parts(blocks: Sequence[Block]) -> list[Part]:
    """Where the kind of text changes; none where all of it is body."""
    kinds = [block.kind for block in blocks]
    placed = zip(["", *kinds], kinds, _starts(blocks), strict=False)
    return [Part(kind=kind, page=0, start=start) for before, kind, start in placed if kind != before]


def _tables(blocks: Sequence[Block]) -> Iterator[TableRows]:
    """Three rows or more that follow each other are a table, and the first is its header."""
    placed = zip(blocks, _starts(blocks), strict=False)
    for is_row, run in groupby(placed, key=lambda each: each[0].is_row):
        rows = list(run)
        if is_row and len(rows) >= TABLE_ROWS:
            (header, _), (_, start), (last, at) = rows[0], rows[1], rows[-1]
            yield TableRows(header=" ".join(header.text.split()), page=0, start=start, end=at + len(last.text))


def _headings(blocks: Sequence[Block], title: str) -> list[Heading]:
    """Where they stand, the outermost with level 1; one that is the title is none."""
    found = [
        Heading(level=block.level, title=" ".join(block.text.split()), page=0, start=start)
        for block, start in zip(blocks, _starts(blocks), strict=False)
        if block.level
    ]
    if found and letters_and_digits(found[0].title) == letters_and_digits(title):
        found = found[1:]
    outermost = min((heading.level for heading in found), default=1)
    return [msgspec.structs.replace(heading, level=heading.level - outermost + 1) for heading in found]
