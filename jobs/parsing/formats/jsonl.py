"""The parser "jsonl": one line of a file of many papers, as other tools that read papers write them.

A line is a JSON object with ``text``, or with ``sections``: a list of objects with ``title``, ``text`` and ``level``,
each where it has one. ``title`` and ``id`` name the paper. ``format`` says what the texts are: "markdown" or "text";
without it a text that has a line which begins with ``#`` is Markdown. Other fields are not looked at.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats import markdown
from jobs.parsing.formats.blocks import Block, assemble
from jobs.parsing.formats.text import paragraphs
from jobs.parsing.parsers import Options

__all__ = ["read"]

_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)


class _Section(msgspec.Struct, frozen=True):
    title: str | None = None
    text: str | None = None
    level: int | None = None


class _Line(msgspec.Struct, frozen=True):
    id: str | int | None = None
    title: str | None = None
    text: str | None = None
    sections: list[_Section] | None = None
    format: Literal["markdown", "text"] | None = None


_decoder = msgspec.json.Decoder(_Line)


def read(data: bytes, path: str, options: Options) -> Extracted:
    """The paper in one line. Raises `Permanent` of kind "wrong_format" for a line that is no such object."""
    try:
        line = _decoder.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise failed("wrong_format", f"a line must be a JSON object with text or sections: {error}") from error
    if line.text is None and not line.sections:
        raise failed("wrong_format", "the line has neither text nor sections")
    blocks = _blocks(line.text or "", line.format)
    for section in line.sections or ():
        level = min(max(section.level or 1, 1), 9)
        blocks += [Block(text=section.title, level=level)] if section.title else []
        blocks += _blocks(section.text or "", line.format)
    named = str(line.id) if line.id is not None else ""
    extracted = assemble(blocks, options, title=line.title or (named if line.sections else ""))
    return extracted if extracted.title or not named else msgspec.structs.replace(extracted, title=named)


def _blocks(text: str, format_: str | None) -> list[Block]:
    if format_ == "markdown" or (format_ is None and _HEADING.search(text)):
        return markdown.blocks(text)
    return paragraphs(text)
