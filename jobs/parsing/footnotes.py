"""Where footnotes begin: lines whose first sign is a raised number, and smaller than the words behind it.

MuPDF's XHTML does not say so: it calls raised what stands higher than the first letter of its line, which is the number.
But a line's font and its place on the baseline are those of the number, and the words behind it reach well below them.
"""

from __future__ import annotations

import re
from collections import defaultdict

from jobs.parsing.layout import Layout, Line

__all__ = ["numbered_notes", "with_mark"]

# A small letter begins a word of three or more, as "https", else it is mathematics. A capital with none behind it, or with
# one, is a symbol ("14C dates", "90Sr", "2X = 1"), if it is none of the short words that sentences begin with.
_LETTER = r"(?:[^\W\d_]|[´`¨ˆ˜ˇ˘˚])"
_NOTE = re.compile(
    rf"\s*(?P<number>[1-9]\d{{0,2}})\s?(?=[“\"‘'(¿¡]?(?:[a-z]{{3}}|(?!(?-i:[a-z])){_LETTER}(?:{_LETTER}{{2}}|\d)|"
    r"(?:A|I|An|As|At|By|De|El|En|If|Il|In|Is|It|La|Le|No|Of|On|Or|Se|So|To|Un|We)\s))"
)


def numbered_notes(layout: Layout) -> dict[tuple[int, str], list[int]]:
    """By page and number, the lines that look like the first of a footnote of that number."""
    notes: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for number, line in enumerate(layout.lines):
        text = line.text
        if text[:1] in "123456789 " and _reaches_below(line) and (match := _NOTE.match(text)):
            notes[layout.page_of[number], match["number"]].append(number)
    return dict(notes)


def with_mark(text: str, mark: str) -> str:
    """The first line of a footnote with `mark` in the place of its number."""
    match = _NOTE.match(text)
    return f"{mark} {text[match.end() :]}".lstrip() if match else text


def _reaches_below(line: Line) -> bool:
    """Whether a line reaches farther below the place of its first sign than that sign's own descenders do."""
    return 5 * (line.bbox.y + line.bbox.h - line.y) > 3 * line.font.size
