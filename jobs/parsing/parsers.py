"""Parsers by name: each turns the bytes of one paper into an extracted document.

The table names the function of each; its module, and the library that it needs, are imported when it is first used. A
new parser is a module and one line here. One that stands outside this package is chosen as "module:function"; its
module lists the endings of its files in ``SUFFIXES``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from importlib import import_module
from pathlib import PurePath
from types import ModuleType
from typing import Any, Literal, Protocol, cast

import msgspec

from engine.errors import BadInput
from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed

__all__ = [
    "AUTO",
    "AXES",
    "FURNITURE",
    "HEAD_BYTES",
    "PARSERS",
    "REFERENCES",
    "Entry",
    "Options",
    "Parser",
    "check_parser",
    "choose",
    "entries",
    "load",
]

AUTO = "auto"
"""The name that chooses by the ending of the file's name, and by how the file begins where that is not known."""

_FUNCTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*:[A-Za-z_]\w*", re.ASCII)

AXES, FURNITURE, REFERENCES = "axes", "furniture", "references"
"""Kinds of text that a parser may leave out."""

HEAD_BYTES = 2**16
"""How much of a file `Entry.begins` may look at."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration asks of every parser; one that cannot do a thing ignores it.

    ``references`` is "drop" where lists of references are left out, "mark" where they stay in chunks that say so, "keep"
    where they stay. ``furniture`` (running heads, page numbers, stamps) and ``axes`` (the numbers along the axes of
    plots) are "drop" or "keep". ``citations`` says what becomes of raised numbers: "mark" writes " [3]", "drop" leaves them out, "keep" leaves them as they are.
    ``table_headers`` is "repeat" where a chunk that begins inside a table repeats its header, else "once".
    ``ocr`` is "auto" where pages that are pictures are read by what is installed for it, else "off".
    """

    references: Literal["drop", "mark", "keep"] = "drop"
    furniture: Literal["drop", "keep"] = "drop"
    axes: Literal["drop", "keep"] = "drop"
    citations: Literal["mark", "drop", "keep"] = "mark"
    table_headers: Literal["repeat", "once"] = "repeat"
    ocr: Literal["auto", "off"] = "auto"

    def keeps(self, kind: str) -> bool:
        """Whether a part of a paper that is of this kind, "" for plain text, stays in it."""
        if kind in (AXES, FURNITURE):
            return (self.axes if kind == AXES else self.furniture) == "keep"
        return kind != REFERENCES or self.references != "drop"

    def fingerprint(self) -> dict[str, Any]:
        """What of it changes the text, where it is not the default. Whether scans can be read, the machine decides."""
        mine = msgspec.structs.asdict(self)
        meaning = ("references", "furniture", "axes", "citations", "table_headers")
        return {key: mine[key] for key in meaning if mine[key] != getattr(Options(), key)}


class Parser(Protocol):
    """Reads one paper, in a worker process with bounds on time and memory."""

    def __call__(self, data: bytes, path: str, options: Options) -> Extracted:
        """The document in `data`, which was read from `path`.

        Raises `Permanent` with a kind of `jobs.parsing.failures.Kind`; use `failed`. It opens no other file, but for
        those in the folder of `path` that the document includes, and no network.
        """
        ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``read`` is "module:function"; ``suffixes`` are endings of names, in small letters.

    ``begins`` is a pattern that the start of such a file matches. ``in_parts`` says that a file which is found in a
    folder and does not match it is a part of another one. ``a_line_each`` says that each line of the file is a paper.
    """

    read: str
    suffixes: tuple[str, ...]
    begins: bytes = b""
    in_parts: bool = False
    a_line_each: bool = False

    def fits(self, head: bytes) -> bool:
        """Whether a file that begins with the bytes `head` is of this kind, by what it says and not by its name."""
        return bool(self.begins) and re.match(self.begins, head[:HEAD_BYTES], re.DOTALL | re.IGNORECASE) is not None


PARSERS: dict[str, Entry] = {
    "pdf": Entry(read="jobs.parsing.pdf:read", suffixes=(".pdf",), begins=rb".{0,1019}%PDF-"),
    "markdown": Entry(read="jobs.parsing.formats.markdown:read", suffixes=(".md", ".markdown")),
    "html": Entry(
        read="jobs.parsing.formats.html:read",
        suffixes=(".html", ".htm", ".xhtml"),
        begins=rb"\s*<(?:!doctype\s+html|html)\b",
    ),
    "jats": Entry(
        read="jobs.parsing.formats.jats:read",
        suffixes=(".xml", ".nxml"),
        begins=rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+article\b|<article\b)",
    ),
    "latex": Entry(
        read="jobs.parsing.formats.latex:read",
        suffixes=(".tex", ".ltx"),
        begins=rb"(?:.*\n)?[^%\n]*\\document(?:class|style)\s*(?:\[[^\]]*\]\s*)?\{(?!standalone|subfiles)",
        in_parts=True,
    ),
    "epub": Entry(
        read="jobs.parsing.formats.epub:read",
        suffixes=(".epub",),
        begins=rb"PK\x03\x04.{26}mimetypeapplication/epub\+zip",
    ),
    "docx": Entry(read="jobs.parsing.formats.docx:read", suffixes=(".docx",)),
    "text": Entry(read="jobs.parsing.formats.text:read", suffixes=(".txt", ".text")),
    "jsonl": Entry(read="jobs.parsing.formats.jsonl:read", suffixes=(".jsonl", ".ndjson"), a_line_each=True),
}


def entries(parser: str) -> Collection[Entry]:
    """What `parser`, a name of the table, "auto" or "module:function", reads.

    Raises `BadInput` for another name, and where such a function cannot be imported.
    """
    check_parser(parser)
    if parser == AUTO:
        return PARSERS.values()
    if ":" not in parser:
        return [PARSERS[parser]]
    suffixes = getattr(_module(parser), "SUFFIXES", ())
    if isinstance(suffixes, str) or not all(isinstance(suffix, str) for suffix in suffixes):
        raise BadInput(f'parse.parser = "{parser}": SUFFIXES of its module must be a tuple, as (".srt",)')
    return [Entry(read=parser, suffixes=tuple(suffixes))]


def check_parser(parser: str) -> None:
    """Raise `BadInput` for what is neither "auto", nor a name of the table, nor of the form "module:function"."""
    names = [AUTO, *PARSERS]
    if parser not in names and not _FUNCTION.fullmatch(parser):
        near = difflib.get_close_matches(parser, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)} and module:function"
        raise BadInput(f"configuration: parse.parser: there is no parser {parser!r}; {hint}")


def choose(parser: str, path: str, head: bytes) -> str:
    """The name of the parser for the file `path` that begins with `head`: `parser` itself unless that is "auto".

    Raises `Permanent` of kind "unsupported" where none fits.
    """
    if parser != AUTO:
        return parser
    suffix = PurePath(path).suffix.lower()
    named = [name for name, entry in PARSERS.items() if suffix in entry.suffixes]
    fitting = named or [name for name, entry in PARSERS.items() if entry.fits(head)]
    if not fitting:
        raise failed("unsupported", suffix or "a name without an ending")
    return fitting[0]


def load(name: str) -> Parser:
    """The parser called `name`, a name of the table or "module:function"; raises `BadInput` where there is none."""
    read = PARSERS[name].read if name in PARSERS else name
    function = getattr(_module(read), read.partition(":")[2], None)
    if not callable(function):
        raise BadInput(f'parse.parser = "{name}": its module has no function {read.partition(":")[2]}')
    return cast(Parser, function)


def _module(read: str) -> ModuleType:
    try:
        return import_module(read.partition(":")[0])
    except ImportError as error:
        raise BadInput(
            f'parse.parser = "{read}" cannot be imported ({error}); install it, or set PYTHONPATH to its folder'
        ) from error
