"""Large first letters that stand on a line of their own, beside the words that they begin: "T", then "hromboembolic"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from jobs.parsing.layout import Layout, Line
from jobs.parsing.vocabulary import is_common

__all__ = ["with_drop_caps"]

_LARGER = 1.6
"""A drop cap is at least this many times as large as its text; headings that are one letter stand above theirs."""

_FIRST_WORD = re.compile(r"[^\W\d_]+")


def with_drop_caps(layout: Layout, numbers: Iterable[int], texts: Mapping[int, str]) -> Iterator[tuple[int, int, str]]:
    """For each drop cap among the lines `numbers`: its number, that of the line that it begins, and the text of both.

    `texts` replaces the text of lines.
    """
    kept = set(numbers)
    for number in sorted(kept):
        cap = layout.lines[number]
        if len(cap.text) < 4 and (letter := cap.text.strip()).isalpha() and letter.isupper() and len(letter) == 1:
            after = number + 1
            if after in kept and layout.page_of[after] == layout.page_of[number] and _begins(cap, layout.lines[after]):
                yield number, after, _joined(letter, texts.get(after, layout.lines[after].text))


def _begins(cap: Line, line: Line) -> bool:
    """Whether `line` stands to the right of the upper half of `cap`, close to it, in smaller print."""
    return (
        cap.font.size >= _LARGER * line.font.size
        and -line.size < line.left - cap.right < 1.5 * line.size
        and cap.top - line.size < line.bottom
        and line.top < (cap.top + cap.bottom) / 2 + line.size
        and _FIRST_WORD.match(line.text.lstrip()) is not None
    )


def _joined(letter: str, text: str) -> str:
    """ "A" and "I" can be words: they stay so where what is behind them is one."""
    rest = text.lstrip()
    word = _FIRST_WORD.match(rest)
    assert word is not None
    alone = letter in "AI" and is_common(word[0].lower()) and not is_common(f"{letter}{word[0]}".lower())
    return f"{letter} {rest}" if alone else f"{letter}{rest}"
