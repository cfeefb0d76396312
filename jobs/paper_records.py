"""The rows of the first two datasets, papers and chunks; `jobs.records` has all rows."""

from __future__ import annotations

import msgspec

from engine.records import Record

__all__ = ["Chunk", "LeftOut", "Paper", "PaperText"]


class Paper(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One paper that was found, readable or not. `parent` is empty, because papers come first.

    ``path`` is absolute; ``sha256`` is of the file's bytes ("" when they could not be read); ``bytes`` its size. Where
    the paper is one line of a file of many, ``path`` ends in ``#`` and the number of the line, ``offset`` is where the
    line starts, in bytes, and ``sha256`` and ``bytes`` are those of the line.
    """

    path: str
    sha256: str
    bytes: int
    offset: int | None = None


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Text of a paper that is in none of its chunks, as printed. ``kind`` is a word such as "references"; pages count
    from 1."""

    kind: str
    page: int
    text: str


class PaperText(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a paper.

    ``pages`` is 0 for a kind of file without pages. ``characters`` counts those of its text, ``left_out`` those that
    were left out, by kind, and ``omitted`` holds their text if the parser gives it.
    """

    pages: int
    characters: int
    left_out: dict[str, int]
    omitted: list[LeftOut]


class Chunk(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a paper's cleaned text, small enough to be embedded. Pages count from 1; 0 where there are none.

    ``position`` counts the chunks of one paper from 0. ``note`` says which part of the paper could not be read, if any.
    ``section`` holds the headings above the text, the outermost first. ``mostly_numbers`` says that most of its words
    are numbers, as in a table. ``part`` is "references" in a chunk of references that is marked, and "contents" in one
    that is mostly a table of contents. ``paper_text`` is set in the first chunk of a paper. These four are not written
    when they are empty, and older runs have none of them.
    """

    paper_id: str
    title: str
    position: int
    text: str
    page_first: int
    page_last: int
    split: str
    note: str = msgspec.field(default_factory=str)  # a factory, so that it is written even when it is empty
    section: list[str] = msgspec.field(default_factory=list)
    mostly_numbers: bool = False
    part: str = ""
    paper_text: PaperText | None = None
