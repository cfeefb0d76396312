"""Whether a text is a table of contents, by its leaders: the dots that lead from an entry to the number of its page."""

from __future__ import annotations

import re
from itertools import pairwise

__all__ = ["CONTENTS", "is_contents"]

CONTENTS = "contents"
"""The kind of back matter, and the part of a paper, that a table of contents is."""
FEWEST = 3  # entries
LONGEST = 200  # characters of an entry

_DOTS = ".⋅·‧・．"
_LEADER = re.compile(
    rf"(?<![{_DOTS}…])(?<![{_DOTS}…] )(?:(?:[{_DOTS}…] ?){{4,}}|…{{2,}} ?)"
    r"(?:(?P<page>\d{1,4}|[ivxlc]{1,7})(?!\S)|\Z)"
)
_SIGNS = ("…", *(each for dot in _DOTS for each in (dot * 4, " ".join(dot * 4))))


def is_contents(text: str) -> bool:
    """Whether more than half of its letters stand in entries with a leader and the number of a page.

    The last leader may be cut off. The numbers go up: where they go up and down, the text is a table or a scale of answers
    that is printed with leaders.
    """
    if not any(sign in text for sign in _SIGNS):  # as in most texts
        return False
    entries = list(_LEADER.finditer(text))
    pages = [int(entry["page"]) for entry in entries if (entry["page"] or "").isdecimal()]
    if len(entries) < FEWEST or sum(after < before for before, after in pairwise(pages)) > 1 + len(pages) // 10:
        return False
    led, end = 0, 0
    for entry in entries:
        start = max(end, text.rfind("\n", 0, entry.start()) + 1, entry.start() - LONGEST)
        led += _letters(text[start : entry.start()])
        end = entry.end()
    return 2 * led > _letters(text)


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))
