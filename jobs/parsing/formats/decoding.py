"""From bytes to text, where a file does not have to say how it is encoded."""

from __future__ import annotations

import codecs
import re

from jobs.parsing.failures import failed

__all__ = ["decode"]

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?([A-Za-z0-9_.:-]{2,40})")
_NEVER_IN_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
LOOKED_AT = 2**16
"""Characters at the start of a file that decide whether it is text."""


def decode(data: bytes) -> str:
    """The text of `data`: by its byte-order mark, as UTF-8, as it declares in its first kilobyte, or as Windows-1252.

    Raises `Permanent` of kind "wrong_format" for what is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _text(data[len(mark) :].decode(encoding, "replace"))
    try:
        return _text(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _text(data.decode(_declared(data), "replace"))


def _declared(data: bytes) -> str:
    if found := _DECLARED.search(data[:1024]):
        try:
            info = codecs.lookup(found.group(1).decode("ascii"))
        except LookupError:
            return "cp1252"
        if getattr(info, "_is_text_encoding", False) and info.name != "utf-8":
            return info.name
    return "cp1252"


def _text(text: str) -> str:
    looked_at = text[:LOOKED_AT]
    strange = len(_NEVER_IN_TEXT.findall(looked_at))
    if "\x00" in looked_at or 100 * strange > len(looked_at):
        raise failed("wrong_format", "it holds binary data")
    return text
