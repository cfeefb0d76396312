"""Whether a text is mostly numbers: a table or an axis of which a question could only ask for a cell."""

from __future__ import annotations

import re

__all__ = ["is_mostly_numbers"]

FEWEST = 30

_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"[^\W\d_]{2}")


def is_mostly_numbers(text: str) -> bool:
    """Whether more of its words have digits than letters: "0.37", "±", "p<.01" against "grain"; False where there are few."""
    # Each number has a digit, so counting those alone decides about most texts.
    if sum(map(text.count, "0123456789")) < max(FEWEST, text.count(" ") / 3):
        return False
    words = text.split()
    numbers = sum(1 for word in words if _DIGIT.search(word) and not _WORD.search(word))
    return numbers >= FEWEST and numbers > sum(1 for word in words if _WORD.search(word))
