"""Output for any terminal or pipe: characters that its encoding lacks are written in ASCII, or as "?"."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper

__all__ = ["make_printable"]

_PLAIN = {
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "×": "x",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "½": ".5",
    "·": ".",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
}
_NAME = "gristmill_plain"


def make_printable() -> None:
    """Make stdout and stderr write ASCII for characters that their encoding lacks, instead of raising an error."""
    codecs.register_error(_NAME, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") not in ("utf8", "utf8sig"):
            stream.reconfigure(errors=_NAME)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end
