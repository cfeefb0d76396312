"""Text in a normal form: for comparing and counting, and without invisible characters."""

from __future__ import annotations

import re

__all__ = ["UNWANTED", "readable", "words"]

_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")

UNWANTED = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # fillers and joiners that show nothing
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc"  # zero width, direction, interlinear
    "\ufe00-\ufe0f\U000e0000-\U000e0fff"  # variation selectors and tags: both can carry hidden text
    "\ud800-\udfff\ufdd0-\ufdef\ufffd"  # lone surrogates, noncharacters, the replacement character
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(15))
)
"""The characters, for a class of a regular expression, that say nothing to a reader or hide something from it."""

_UNWANTED = re.compile(f"[{UNWANTED}]+")
_UNWANTED_ASCII = bytes(code for code in range(128) if _UNWANTED.match(chr(code)))


def words(text: str) -> list[str]:
    """The words of `text`, case-folded; in a script without spaces each character is a word."""
    return _WORD.findall(text.casefold())


def readable(text: str) -> str:
    """`text` without the characters in `UNWANTED`."""
    if text.isascii():
        data = text.encode()
        wanted = data.translate(None, _UNWANTED_ASCII)
        return text if len(wanted) == len(data) else wanted.decode()
    letters = "".join(set(text))  # far fewer than the text has
    return _UNWANTED.sub("", text) if _UNWANTED.search(letters) else text
