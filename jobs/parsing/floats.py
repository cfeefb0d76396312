"""Which text of figures, tables and footnotes cuts a sentence in two, and the order of lines that makes it whole.

Pages put floats where they fit, so a sentence may end a column, with a caption and a footnote before its second half. Only
such floats are moved, behind the paragraph that they cut; where all others stand says what they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from jobs.parsing.layout import UNITS, Layout, Line
from jobs.parsing.section_names import FLOATS

__all__ = ["in_sentence_order"]

_CAPTION = re.compile(
    r"\s*(?:supplementary |extended data |appendix )?(?:" + FLOATS + r") ?(?:[A-Z]?\.?\d|[IVX]+\b|[A-Z]\b)",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?:;。！？][)\]”’\"'\s\d,–-]*$")
_GOES_ON = re.compile(r"[(\[“‘\"]?[^\W\d_A-Z]")
NEAR = UNITS // 2  # how far the size of body text may be from its usual size
SMALLER = 0.6 * UNITS  # ... and how much smaller what is not body text is printed
WORDS = 20  # characters of a line that is no label, cell or formula
MOST_LINES = 400  # of the floats in one sentence


class _Run(msgspec.Struct, frozen=True):
    """Blocks that follow each other and are all body text, or all not."""

    numbers: list[int]
    is_body: bool
    is_float: bool = False


def in_sentence_order(layout: Layout, numbers: Iterable[int]) -> list[int]:
    """The lines `numbers`, in reading order, each float that cuts a sentence behind the paragraph of the sentence."""
    runs = list(_runs(layout, numbers))
    order: list[int] = []
    waiting: list[int] = []
    for index, run in enumerate(runs):
        if run.is_float and 0 < index < len(runs) - 1 and _is_cut(layout, runs[index - 1], runs[index + 1]):
            waiting += run.numbers
            continue
        if not waiting:
            order += run.numbers
            continue
        end = _end_of_paragraph(layout, run.numbers)
        order += run.numbers[:end]
        if end < len(run.numbers) or not _is_unfinished(layout.lines[run.numbers[-1]].text) or index == len(runs) - 1:
            order += waiting + run.numbers[end:]
            waiting = []
    return order + waiting


def _runs(layout: Layout, numbers: Iterable[int]) -> Iterator[_Run]:
    body = layout.body_size()
    lines = layout.lines
    blocks = [list(own) for _, own in groupby(numbers, layout.block_of.__getitem__)]
    for is_body, own in groupby(blocks, lambda block: _is_body([lines[number] for number in block], body)):
        held = list(own)
        found = [number for block in held for number in block]
        yield _Run(found, is_body, not is_body and len(found) <= MOST_LINES and _are_floats(lines, held, body))


def _is_body(block: Sequence[Line], body: int) -> bool:
    """Whether most of a block is in the body's print, on lines of some length, and it is no caption."""
    letters = own = longest = 0
    for line in block:
        length = len(line.text)
        letters += length
        longest = max(longest, length)
        if -NEAR <= line.font.size - body <= NEAR:
            own += length
    return 2 * own > letters and longest >= WORDS and not _CAPTION.match(block[0].text)


def _are_floats(lines: Sequence[Line], blocks: Sequence[Sequence[int]], body: int) -> bool:
    """Whether one of the blocks is a caption, or nearly all is in small print. Formulas and headings are neither."""
    if any(_CAPTION.match(lines[block[0]].text) for block in blocks):
        return True
    found = [lines[number] for block in blocks for number in block]
    letters = sum(len(line.text) for line in found)
    small = sum(len(line.text) for line in found if line.font.size < body - SMALLER)
    return letters >= WORDS and 5 * small >= 4 * letters and max(len(line.text) for line in found) >= WORDS


def _is_cut(layout: Layout, before: _Run, after: _Run) -> bool:
    last, first = layout.lines[before.numbers[-1]], layout.lines[after.numbers[0]]
    if not (before.is_body and after.is_body and _is_unfinished(last.text)):
        return False
    return bool(_GOES_ON.match(first.text)) or last.text.rstrip().endswith(("-", ","))


def _is_unfinished(text: str) -> bool:
    return not _ENDED.search(text)


def _end_of_paragraph(layout: Layout, numbers: Sequence[int]) -> int:
    """How many of the lines are of the blocks up to the first that ends a sentence."""
    for index, number in enumerate(numbers):
        is_last = index + 1 == len(numbers) or layout.block_of[numbers[index + 1]] != layout.block_of[number]
        if is_last and not _is_unfinished(layout.lines[number].text):
            return index + 1
    return len(numbers)
