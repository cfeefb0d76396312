"""The parser "text": plain text, whose paragraphs are parted by empty lines."""

from __future__ import annotations

import re

from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.blocks import Block, assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.parsers import Options

__all__ = ["paragraphs", "read"]

_EMPTY_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def read(data: bytes, path: str, options: Options) -> Extracted:
    """Words that are broken at a line's end are joined, as those of a PDF. There are no headings, and no title."""
    return assemble(paragraphs(decode(data)), options)


def paragraphs(text: str) -> list[Block]:
    """What stands between empty lines."""
    text = re.sub(r"\r\n?|[\f\v]", "\n", text)
    return [Block(text=part) for part in _EMPTY_LINES.split(text) if part.strip()]
