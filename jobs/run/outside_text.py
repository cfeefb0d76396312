"""Text from outside (a paper, a file name, a server), made safe to show on one line."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]


def visible(text: str, longest: int = 400) -> str:
    """`text` without characters that a page cannot hold or that hide a part of it."""
    line = " ".join(text.split())
    shown = "".join("\ufffd" if _hides(letter) else letter for letter in line[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def _hides(letter: str) -> bool:
    """Control characters, lone surrogates, and what turns the direction of the text after it."""
    return (
        unicodedata.category(letter) in ("Cc", "Cs")
        or 0x202A <= ord(letter) <= 0x202E
        or 0x2066 <= ord(letter) <= 0x2069
    )
