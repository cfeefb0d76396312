"""Which lines of a paper are furniture: running heads and feet, page numbers, line numbers, watermarks and stamps.

Furniture stands at the edges of pages and repeats: the same words, numbers aside, at the same height on several pages, or
numbers that count with the pages or down a margin. What stands on a single page is known by its words ("Downloaded from"),
by standing where the other pages have theirs, or by having no words: one sign again and again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

import msgspec

from jobs.parsing.layout import UNITS, Box, Layout, Line
from jobs.parsing.section_names import FLOATS

__all__ = ["find_furniture"]

ROWS = 3  # from the edge of a page: as deep as heads and feet go
DEPTH = 100 * UNITS  # ... and no deeper than this
PART = 1 / 3  # of a page, from either edge, is looked at
SHORT = 8  # characters, of which all may be blanks
NEAR = 3 * UNITS  # how far the heights of the same head differ from page to page
FEW_PAGES = 3  # a line on as many pages is no accident
LONG = 10  # a repeated line of as many letters is no accident either, at whatever height
COUNTED = 5  # numbers down a margin that are line numbers, at least

_NUMBER = re.compile(
    r"[\[(–—|·• -]{0,3}(?:(?:page|seite|página|стр\.?|p\.)\s*)?(\d{1,5}|[ivxlc]{1,7})(?:\s*(?:/|of|de|von)\s*\d{1,5})?[\])–—|·• -]{0,3}",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_CAPTION = re.compile(rf"(?:{FLOATS})0", re.IGNORECASE)
_STAMP = re.compile(
    r"^arXiv:\d|^downloaded (from|by|on)\b|^authorized licensed use|^this article is protected by copyright|"
    r"^author manuscript|^published in final edited form|^this content downloaded|^for personal use only|"
    r"\bfor review purposes only|^(bio|med)rxiv preprint|^preprint submitted to|^under review as\b|^available online at\b|"
    r"^draft$|^confidential$|^unofficial copy|^printed by\b|^accessed on\b|^nih-pa|^hhs public access",
    re.IGNORECASE,
)
_IMPRINT = re.compile(
    r"©|\bcopyright\b|\bdoi\b|\bdoi:|doi\.org|https?://|www\.|\bissn\b|\bvol(ume|\.)?[ -]?\d|\b\d+ ?\(\d{4}\)|\(\d{4}\),? ?\d+|"
    r"\b(19|20)\d\d, ?\d+\b|\bproceedings of\b|\b(conference|workshop|symposium) on\b|\bmanuscript no\b|\bsubmitted\b.*\d|"
    r"^journal of\b|\bpp?\. ?\d+|\barticle id\b|^advance access|^(\d\d? )?(january|february|march|april|may|june|july|august|"
    r"september|october|november|december) (\d\d?(\s?[-–]\s?\d\d?)?, )?(19|20)\d\d\b",
    re.IGNORECASE,
)
# "a1111111111": the glyphs of a logo. Dots, lines and dashes lead from one thing to another, or wait to be filled in.
_ONE_SIGN = re.compile(r"\s*[^\W\d_]?([^\s.…·⋅‧・．_＿‐‑‒–—―−ー─-])\1{7,}\s*")


class _Edge(msgspec.Struct, frozen=True, gc=False):
    """A line near the upper or lower edge of its page. ``row`` counts the rows from that edge, from 0."""

    number: int
    page: int
    is_upper: bool
    row: int
    y: int
    size: int


def find_furniture(layout: Layout) -> frozenset[int]:
    """The numbers of the lines that are furniture; none where it would be a quarter of the text, as of a form.

    Of papers it is a twelfth at most.
    """
    across, others = _ways(layout)
    apart = {*_stamps(layout, across, others), *_line_numbers(layout, across), *_wordless(layout)}
    edges = [edge for page, own in enumerate(across) for edge in _edges(layout, page, own, apart)]
    folded = [_folded(layout.lines[edge.number].text) for edge in edges]
    body = layout.body_size()
    found = _repeated(layout, edges, folded, body)
    found |= _page_numbers(layout, edges) | _logos(layout, edges)
    found |= _by_words(layout, edges, folded, found, body)
    found |= _in_bands(layout, edges, found)
    furniture = frozenset(apart | _outermost(layout, edges, found))
    letters = sum(len(line.text) for line in layout.lines)
    return furniture if 4 * sum(len(layout.lines[number].text) for number in furniture) <= letters else frozenset()


def _ways(layout: Layout) -> tuple[list[list[int]], list[list[int]]]:
    """For each page the lines with text that run across it, and those that run another way."""
    across, others = list[list[int]](), list[list[int]]()
    for page in layout.pages:
        own, rest = list[int](), list[int]()
        for number in page.lines:
            line = layout.lines[number]
            if len(line.text) > SHORT or line.text.strip():
                box = line.bbox
                (own if box.w > box.h or box.h <= 2 * line.font.size else rest).append(number)
        across.append(own)
        others.append(rest)
    return across, others


def _stamps(layout: Layout, across: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> Iterator[int]:
    """Lines that run up or down and stand beside all that run across, or repeat at one place, or say what stamps say."""
    repeated: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for own, rest in zip(across, others, strict=True):
        left, right = _sides(layout.lines, own) if rest and own else (0, 0)
        for number in rest:
            line = layout.lines[number]
            text = line.text.strip()
            is_beside = right and len(text) > 1 and (line.bbox.x + line.bbox.w <= left or line.bbox.x >= right)
            if _STAMP.search(text) or (is_beside and line.bbox.h > 8 * line.bbox.w):
                yield number
            elif len(text) > 3:
                repeated[text, line.bbox.x // NEAR].append(number)
    for numbers in repeated.values():
        if len({layout.page_of[number] for number in numbers}) >= FEW_PAGES:
            yield from numbers


def _wordless(layout: Layout) -> Iterator[int]:
    """The lines of one sign again and again, where no line of their block says more: a cell of a table stays."""
    alike = ((number, text) for number, line in enumerate(layout.lines) if (text := line.text)[-4:-3] == text[-3:-2])
    found = [number for number, text in alike if _ONE_SIGN.fullmatch(text)]
    if found:
        heights = Counter(layout.block_of)
        ours = Counter(layout.block_of[number] for number in found)
        yield from (number for number in found if ours[layout.block_of[number]] == heights[layout.block_of[number]])


def _sides(lines: Sequence[Line], numbers: Sequence[int]) -> tuple[int, int]:
    """Between which edges nearly all of the lines stand."""
    few = len(numbers) // 20
    boxes = [lines[number].bbox for number in numbers]
    return sorted(box.x for box in boxes)[few], sorted(box.x + box.w for box in boxes)[-1 - few]


def _line_numbers(layout: Layout, across: Sequence[Sequence[int]]) -> set[int]:
    """Numbers that count down a margin, on every other page at least."""
    found: set[int] = set()
    numbered = 0
    for own in across:
        numbers = {n for n in own if len(layout.lines[n].text) < 8 and layout.lines[n].text.strip().isdecimal()}
        if len(numbers) < COUNTED or len(numbers) == len(own):
            continue
        rest = [layout.lines[number].bbox for number in own if number not in numbers]
        columns = [own for own in _columns(layout.lines, numbers) if _is_margin(layout.lines, own, rest)]
        numbered += bool(columns)
        found.update(number for column in columns for number in column)
    return found if 2 * numbered >= len(layout.pages) else set()


def _is_margin(lines: Sequence[Line], column: Sequence[int], rest: Sequence[Box]) -> bool:
    """Whether hardly any other line stands above or below the column."""
    box = lines[column[0]].bbox
    middle = box.x + box.w // 2
    return 10 * sum(other.x < middle < other.x + other.w for other in rest) <= len(rest)


def _columns(lines: Sequence[Line], numbers: Iterable[int]) -> Iterator[list[int]]:
    """Numbers under each other of which nearly every one is its predecessor's next, or five more."""
    by_edge: defaultdict[int, list[int]] = defaultdict(list)
    for number in numbers:
        box = lines[number].bbox
        by_edge[(box.x + box.w) // NEAR].append(number)
    for column in by_edge.values():
        if len(column) < COUNTED:
            continue
        column.sort(key=lambda number: lines[number].bbox.y)
        steps = Counter(int(lines[after].text) - int(lines[before].text) for before, after in pairwise(column))
        if max(steps[1], steps[5]) >= 0.8 * (len(column) - 1):
            yield column


def _edges(layout: Layout, page: int, own: Iterable[int], skipped: set[int]) -> Iterator[_Edge]:
    """The lines in the outermost rows of the upper and of the lower part of a page."""
    lines = layout.lines
    part = int(layout.pages[page].height * UNITS * PART)
    upper, lower = list[tuple[int, int, int]](), list[tuple[int, int, int]]()
    for number in own:
        box = lines[number].bbox
        if number not in skipped:
            if box.y < part:
                upper.append((box.y, box.y + box.h, number))
            elif box.y > 2 * part:
                lower.append((-box.y - box.h, -box.y, number))
    yield from _rows(lines, page, sorted(upper), is_upper=True)
    yield from _rows(lines, page, sorted(lower), is_upper=False)


def _rows(
    lines: Sequence[Line], page: int, ordered: Sequence[tuple[int, int, int]], *, is_upper: bool
) -> Iterator[_Edge]:
    """Those of the first few rows of `ordered`, in which a line is (its nearer edge, its farther edge, its number)."""
    row = -1
    near = far = 0
    for begin, end, number in ordered:
        if row < 0 or not near <= (begin + end) // 2 <= far:
            row += 1
            if row == ROWS or begin > ordered[0][0] + DEPTH:
                return
            near, far = begin, end
        yield _Edge(number, page, is_upper, row, lines[number].y, lines[number].font.size)


def _folded(text: str) -> str:
    return _DIGITS.sub("0", "".join(text.split()).casefold())


def _repeated(layout: Layout, edges: Sequence[_Edge], folded: Sequence[str], body: int) -> set[int]:
    """Lines of the same words at the same height on several pages, but for the first line of a text's paragraphs.

    In large print they are headings, as of slides, unless they stand on many pages, and few other words in their place.
    """
    pages = len(layout.pages)
    places = Counter(_place(edge) for edge in edges)
    alike: defaultdict[tuple[bool, str], list[_Edge]] = defaultdict(list)
    for edge, text in zip(edges, folded, strict=True):
        if len(text) > 2 and not _CAPTION.match(text):
            alike[edge.is_upper, text].append(edge)
    found: set[int] = set()
    for (_, text), own in alike.items():
        if len(own) < 2 or sum(map(str.isalpha, text)) < 3 or _is_refrain(layout, own, body):
            continue
        height = median(edge.y for edge in own)
        level = [edge for edge in own if abs(edge.y - height) <= NEAR or (len(text) > LONG and not edge.row)]
        count = len({edge.page for edge in level})
        is_head = count >= FEW_PAGES and (
            level[0].size < body + UNITS or (4 * count > pages and 2 * count > places[_place(level[0])])
        )
        if is_head or (count == 2 and pages <= 8 and not any(edge.row for edge in level)):
            found.update(edge.number for edge in level)
    return found


def _is_refrain(layout: Layout, own: Sequence[_Edge], body: int) -> bool:
    """Whether most of some lines are of the body's print and close to the lines of their paragraph behind them."""
    return 2 * sum(_goes_on(layout, edge) for edge in own if edge.size == body) > len(own)


def _goes_on(layout: Layout, edge: _Edge) -> bool:
    after = edge.number + 1
    if after >= len(layout.lines) or layout.block_of[after] != layout.block_of[edge.number]:
        return False
    line, other = layout.lines[edge.number], layout.lines[after]
    is_alike = other.font == line.font and abs(other.x - line.x) <= UNITS
    return edge.is_upper and is_alike and 0 < other.y - line.y < 1.5 * line.font.size


def _logos(layout: Layout, edges: Sequence[_Edge]) -> set[int]:
    """The same number outermost at one height of most pages, as the sign of a publisher comes out: "123"."""
    alike: defaultdict[tuple[bool, str, int], list[_Edge]] = defaultdict(list)
    for edge in edges:
        text = layout.lines[edge.number].text.strip()
        if not edge.row and text.isdecimal():
            alike[edge.is_upper, text, edge.y // NEAR].append(edge)
    enough = max(FEW_PAGES, len(layout.pages) // 2)
    return {edge.number for own in alike.values() if len({edge.page for edge in own}) >= enough for edge in own}


def _place(edge: _Edge) -> tuple[bool, int, int]:
    return edge.is_upper, edge.y // NEAR, edge.size


def _page_numbers(layout: Layout, edges: Sequence[_Edge]) -> set[int]:
    """Lines of a number alone that goes up with the pages, or stands outermost where those of other pages do."""
    counted: defaultdict[tuple[bool, int], list[_Edge]] = defaultdict(list)
    level: defaultdict[tuple[bool, int], dict[int, tuple[int, _Edge]]] = defaultdict(dict)
    for edge in edges:
        text = layout.lines[edge.number].text.strip()
        match = _NUMBER.fullmatch(text) if len(text) < 20 else None
        if match is None:
            continue
        value = int(match[1]) if match[1].isdecimal() else 0
        if value:
            counted[edge.is_upper, value - edge.page].append(edge)
        if edge.row == 0:
            level[edge.is_upper, edge.y // NEAR][edge.page] = (value, edge)
    groups = [own for own in counted.values() if len({edge.page for edge in own}) >= FEW_PAGES]
    if len(layout.pages) < 2 * FEW_PAGES:
        groups += [own for own in counted.values() if len({edge.page for edge in own}) == 2]
    for at in level.values():
        values = [value for _, (value, _) in sorted(at.items()) if value]
        if len(at) >= FEW_PAGES and all(before < after for before, after in pairwise(values)):
            groups.append([edge for _, edge in at.values()])
    return {edge.number for own in groups for edge in own}


def _by_words(layout: Layout, edges: Sequence[_Edge], folded: Sequence[str], found: set[int], body: int) -> set[int]:
    """Lines that say what furniture says: on other pages, on any page, or on the outermost rows of a first page.

    A line of a paragraph says none of it: "downloaded from the archive" may begin the last line of any page.
    """
    heights = Counter(layout.block_of)
    said = {text for edge, text in zip(edges, folded, strict=True) if edge.number in found and len(text) > 5}
    words: set[int] = set()
    for edge, text in zip(edges, folded, strict=True):
        printed = layout.lines[edge.number].text.strip()
        is_imprint = edge.page == 0 and edge.size <= body and _IMPRINT.search(printed)
        is_known = text in said and (edge.page > 0 or edge.size < body + UNITS)  # else it is the title
        is_stamp = edge.row < 2 and len(printed) > 4 and _STAMP.search(printed)
        is_said = (is_imprint or is_stamp) and heights[layout.block_of[edge.number]] <= ROWS
        if is_said or is_known:
            words.add(edge.number)
    return words


def _in_bands(layout: Layout, edges: Sequence[_Edge], found: set[int]) -> set[int]:
    """Lines that stand where many other pages have words as furniture, in the same row and printed as large."""
    bands: defaultdict[tuple[bool, int, int, int], set[int]] = defaultdict(set)
    worded = [edge for edge in edges if any(map(str.isalpha, layout.lines[edge.number].text))]
    for edge in worded:
        if edge.number in found:
            for shift in (-1, 0, 1):
                bands[edge.is_upper, edge.row, edge.y // NEAR + shift, edge.size // UNITS].add(edge.page)
    enough = max(FEW_PAGES, len(layout.pages) // 4)
    full = {place for place, pages in bands.items() if len(pages) >= enough}
    return {edge.number for edge in worded if (edge.is_upper, edge.row, edge.y // NEAR, edge.size // UNITS) in full}


def _outermost(layout: Layout, edges: Sequence[_Edge], found: set[int]) -> set[int]:
    """Of the lines found those with nothing but furniture between them and the edge, and in a row of little else."""
    kept: set[int] = set()
    for (_, _), own in groupby(edges, lambda edge: (edge.page, edge.is_upper)):
        for _, row in groupby(own, lambda edge: edge.row):
            sizes = {edge.number: len(layout.lines[edge.number].text) for edge in row}
            ours = found.intersection(sizes)
            if 2 * sum(sizes[number] for number in ours) < sum(sizes.values()):
                break
            kept |= ours
            if len(ours) < len(sizes):
                break
    return kept
