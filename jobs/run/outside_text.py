"""Text from outside (a paper, a file name, a server), made safe to show on one line, and to keep."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["legible", "visible", "without_secrets"]


def visible(text: str, longest: int = 400) -> str:
    """`text` without characters that a page cannot hold or that hide a part of it."""
    line = " ".join(text.split())
    shown = "".join("\ufffd" if _hides(letter) else letter for letter in line[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def legible(text: str) -> str:
    """`text` as it stands, lines and spaces too, with a sign in place of each character that `visible` takes out."""
    return "".join("\ufffd" if _hides(letter) and letter not in "\n\t" else letter for letter in text)


def without_secrets(text: str, key: str = "") -> str:
    """`text` with "***" for `key`, which a server may have quoted, and for whatever looks like a key."""
    return _KEY.sub("***", text.replace(key, "***") if key else text)


_KEY = re.compile(r"\b(sk|key|Bearer|gsk|pk|hf|xai|AIza)[-_ ]?[\w\-*.]{10,}")


def _hides(letter: str) -> bool:
    """Control characters, lone surrogates, and what turns the direction of the text after it."""
    return (
        unicodedata.category(letter) in ("Cc", "Cs")
        or 0x202A <= ord(letter) <= 0x202E
        or 0x2066 <= ord(letter) <= 0x2069
    )
