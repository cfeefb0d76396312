"""Text in a normal form, for comparing and counting: not for reading."""

from __future__ import annotations

import re

__all__ = ["words"]

_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")


def words(text: str) -> list[str]:
    """The words of `text`, folded; each sign of a script without spaces is one."""
    return _WORD.findall(text.casefold())
