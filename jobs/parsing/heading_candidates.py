"""What of a paper may be a heading: lines in a print of their own, with a number or a section's name, or in the outline."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby

import msgspec

from jobs.parsing.cleaning import letters_and_digits
from jobs.parsing.layout import Layout, Line
from jobs.parsing.section_names import FLOATS, back_matter, is_section_name, name_before_text

__all__ = ["Body", "Candidate", "OutlineEntry", "Style", "body_of", "candidates", "in_outline"]

MOST_LINES = 4
MOST_CHARACTERS = 180
START = 6  # letters by which a line is looked up
MOST_WORDS = 40  # longest text, in characters, that still counts as letters behind a number

Style = tuple[str, int, bool]
"""The font's name without the mark of a subset, its size in half points, whether all letters are capitals."""


class OutlineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a file's outline; ``level`` counts from 1, ``page`` from 0."""

    level: int
    title: str
    page: int


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    lines: tuple[int, ...]
    text: str
    style: Style
    number: tuple[str, ...]  # "2.1" is ("2", "1")
    plain: bool  # in the print of the body
    above_text: bool
    small: bool = False  # smaller than the body's print
    strong: bool = False  # bold or larger
    runs_in: bool = False
    outline: int = 0  # its level there, 0 where it is not in it

    @property
    def named(self) -> bool:
        return is_section_name(self.text)


_NUMBER = re.compile(
    r"(?:section|chapter|appendix)?\s*(?P<number>\d{1,2}(?: ?\. ?\d{1,2}){0,3}|[A-H](?:\.\d{1,2}){1,3}|(?-i:[A-H](?=[.\s]\s*[A-Z]))|[IVX]{1,5}(?=[.\s]))"
    r"[.)]?\s+(?=[^\W\d_])",
    re.IGNORECASE,
)
_NUMBER_ALONE = re.compile(r"(?:\d{1,2}(?:\.\d{1,2}){0,3}|[A-H](?:\.\d{1,2}){0,3}|[IVX]{1,5})[.)]?")
_PLAIN_START = re.compile(
    r"(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[A-H]\.\d[\d.]*|[A-H]\.|[IVX]{1,5}\.)(?:\s|$)|第\s*\d{1,2}\s*[章节節部]|[A-Z][\w ’']{4,50}[.:—] "
)
_IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}")  # of which two are a word
_WORD = re.compile(rf"[^\W\d_]{{3}}|{_IDEOGRAPHS.pattern}")
_CHAPTER = re.compile(r"第\s*(\d{1,2})\s*[章节節部]")
_CAPTION = re.compile(
    r"(supplementa\w+ |extended data )?(" + FLOATS + r"|theorem|lemma|proposition|"
    r"definition|corollary|proof|remark|example|assumption|equation|eq\.)\s*(?-i:[\dA-Z(])|proof\b",
    re.IGNORECASE,
)
_RUN_IN = re.compile(r"(?P<title>(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?\s+)[A-Z][^.:]{2,110}?)[.:]\s+(?=[A-Z\d(“\"])")
_PREFIX = re.compile(r"^[A-Z]{6}\+")
_BOLD = re.compile(r"bold|black|heavy|demi|medi(?![a-z])|cmbx|(?:\.|-)b$|-bd", re.IGNORECASE)


class Body(msgspec.Struct, frozen=True):
    """The print of most letters: its style, its size; and the letters of each print."""

    style: Style
    size: int
    letters: dict[tuple[str, int], int]


def body_of(layout: Layout) -> Body:
    letters: dict[tuple[str, int], int] = defaultdict(int)
    for line in layout.lines:
        font = line.font
        letters[font.name, font.size] += len(line.text)
    (name, size), _ = max(letters.items(), key=lambda each: each[1], default=(("", 0), 0))
    prints: dict[tuple[str, int], int] = defaultdict(int)
    for its_print, count in letters.items():
        prints[_print(*its_print)] += count
    return Body((*_print(name, size), False), size, prints)


@lru_cache(maxsize=4096)
def _print(name: str, size: int) -> tuple[str, int]:
    return _PREFIX.sub("", name), round(size / 8)


def _style(line: Line, text: str) -> Style:
    return *_print(line.font.name, line.font.size), text.isupper()


def candidates(layout: Layout, body: Body, skip: Collection[int]) -> Iterator[Candidate]:
    smallest, its_print = 0.7 * body.size, body.style[:2]
    after = 0
    for number, line in enumerate(layout.lines):
        text, font = line.text, line.font
        if number < after or font.size < smallest or not text or text[0].islower() or number in skip:
            continue
        text = text.strip()
        is_plain = _print(font.name, font.size) == its_print
        if not text[:1].isalnum() or (is_plain and not _may_be_plain(text)):
            continue
        if not _WORD.search(text) and not _NUMBER_ALONE.fullmatch(text):
            continue
        if line.way == "down":  # in a table that lies on its side
            continue
        run = _run(layout, number, skip)
        if len(run) > 2 * MOST_LINES and not is_plain:  # a paragraph in a print of its own
            run, after = run[:MOST_LINES], run[-1] + 1
            if running := _running_in(layout, run, _style(line, text), is_plain, font.size < body.size - 6):
                yield running
            continue
        if candidate := _candidate(layout, run, body, skip, is_plain):
            yield candidate
            after = candidate.lines[-1] + 1


def _may_be_plain(text: str) -> bool:
    """Whether a line in the body's own print may be a heading: it has a number or a section's name, and is short."""
    return len(text) < 100 and (
        text.isupper() or bool(_PLAIN_START.match(text)) or is_section_name(text) or bool(name_before_text(text))
    )


def _run(layout: Layout, first: int, skip: Collection[int]) -> list[int]:
    """The lines from `first` on that are printed alike and stand close; a number on the same height before them."""
    lines = layout.lines
    run = [first]
    if _NUMBER_ALONE.fullmatch(lines[first].text.strip()) and first + 1 < len(lines):
        if not _on_one_height(lines[first], lines[first + 1]):
            return run
        run.append(first + 1)
    last = run[-1]
    style = _print(lines[last].font.name, lines[last].font.size)
    while last + 1 < len(lines) and last + 1 not in skip and layout.page_of[last + 1] == layout.page_of[last]:
        line, after = lines[last], lines[last + 1]
        same_height = _on_one_height(line, after)
        if _print(after.font.name, after.font.size) != style and not (same_height and len(after.text) < 60):
            break
        if not same_height and line.text.isupper() != after.text.isupper() and len(after.text) > 5:
            break
        gap = after.bbox.y - line.bbox.y - line.bbox.h
        most = (0.7 if layout.block_of[last] == layout.block_of[last + 1] else 0.3) * line.font.size
        if not same_height and not -line.bbox.h / 2 < gap < most:
            break
        last += 1
        run.append(last)
        if len(run) > 2 * MOST_LINES:
            break
    return run


def _on_one_height(line: Line, after: Line) -> bool:
    return abs(line.y - after.y) < line.font.size / 4 and -2 < (after.left - line.right) < 5 * line.size


def _candidate(layout: Layout, run: list[int], body: Body, skip: Collection[int], is_plain: bool) -> Candidate | None:
    text = " ".join(" ".join(layout.lines[number].text for number in run).split())
    style = _style(layout.lines[run[-1]], text)
    small = layout.lines[run[-1]].font.size < body.size - 6
    if running := _running_in(layout, run, style, is_plain, small):
        return running
    first_text = layout.lines[run[0]].text.strip()
    if is_plain and is_section_name(first_text):
        run, text = run[:1], first_text
    if not _reads_like_one(text) or len({layout.lines[each].y for each in run}) > MOST_LINES:
        return None
    if not _stands_apart(layout, run, skip, is_plain, small):
        return None
    return Candidate(
        lines=tuple(run), text=text, style=style, number=_number(text), plain=is_plain,
        above_text=_is_above_text(layout, run, body, skip), small=small,
        strong=_is_strong(layout.lines[run[-1]], body),
    )  # fmt: skip


def _is_strong(line: Line, body: Body) -> bool:
    return line.font.size > body.size + 6 or line.is_bold or bool(_BOLD.search(line.font.name))


def _running_in(layout: Layout, run: Sequence[int], style: Style, is_plain: bool, small: bool) -> Candidate | None:
    """A heading behind which the text goes on in the same line."""
    text = ""
    for at, number in enumerate(run[:3]):
        text = f"{text} {layout.lines[number].text}".strip()
        title = "" if at else name_before_text(text)
        if title and (is_plain or small) and not back_matter(title):
            title = ""
        if not title and not is_plain and (match := _RUN_IN.match(text)):
            title = " ".join(match["title"].split())
        if title:
            return Candidate(
                lines=tuple(run[: at + 1]), text=title, style=style, number=_number(title), plain=is_plain,
                above_text=True, runs_in=True,
            )  # fmt: skip
    return None


def _stands_apart(layout: Layout, run: Sequence[int], skip: Collection[int], is_plain: bool, small: bool) -> bool:
    """Whether it is no part of a table's row, nor of a paragraph: nothing goes on below in small letters or is close above."""
    after = run[-1] + 1
    if small and (_on_a_row(layout, run[0] - 1, run[0]) or _on_a_row(layout, run[-1], after)):
        return False
    if after < len(layout.lines) and after not in skip and _goes_on(layout, run[-1], after):
        return False
    before = run[0] - 1
    if not is_plain or before < 0 or before in skip or layout.block_of[before] != layout.block_of[run[0]]:
        return True
    above, line = layout.lines[before], layout.lines[run[0]]
    return line.bbox.y - above.bbox.y > 1.4 * line.font.size or line.bbox.y < above.bbox.y


def _goes_on(layout: Layout, number: int, following: int) -> bool:
    """Whether a line goes on in the following one: in small letters, in its block or close below it and about as wide."""
    line, after = layout.lines[number], layout.lines[following]
    if not after.text[:1].islower():
        return False
    if layout.block_of[number] == layout.block_of[following]:
        return True
    gap = after.bbox.y - line.bbox.y - line.bbox.h
    return -line.bbox.h < gap < line.font.size / 2 and after.bbox.y > line.bbox.y and 4 * after.bbox.w > 3 * line.bbox.w


def _on_a_row(layout: Layout, number: int, after: int) -> bool:
    """Whether two lines, if there are both, stand on one height."""
    if number < 0 or after >= len(layout.lines):
        return False
    line, other = layout.lines[number], layout.lines[after]
    return abs(line.y - other.y) < line.font.size / 4 and layout.page_of[number] == layout.page_of[after]


def _reads_like_one(text: str) -> bool:
    return (
        len(text) <= MOST_CHARACTERS
        and not text[0].islower()
        and not text.endswith((",", ";", "-"))
        and text.count(",") < 5
        and not any(sign in text for sign in "。．，")
        and not (text.endswith(".") and len(text.split()) > 8)
        and not (". " in text[4:] and len(text.split()) > 12)
        and not _CAPTION.match(text)
        and (any(len(word) > 2 for word in text.split()) or bool(_IDEOGRAPHS.search(text)))
        and sum(map(str.isalpha, text)) >= max(2, 0.6 * len(text.replace(" ", "")))
        and bool(_WORD.search(text) or sum(map(str.isalpha, text)) > 2)
    )


def _number(text: str) -> tuple[str, ...]:
    if chapter := _CHAPTER.match(text):
        return (chapter[1],)
    match = _NUMBER.match(text)
    return tuple(match["number"].replace(" ", "").split(".")) if match else ()


def _is_above_text(layout: Layout, run: Sequence[int], body: Body, skip: Collection[int]) -> bool:
    """Whether the next line that is not left out is in the print of the body."""
    after = run[-1] + 1
    while after < len(layout.lines) and after in skip:
        after += 1
    if after >= len(layout.lines):
        return False
    line = layout.lines[after]
    return abs(line.font.size - body.size) <= 6 and len(line.text) > 20


# --- the outline


def in_outline(
    layout: Layout,
    outline: Sequence[OutlineEntry],
    skip: Collection[int],
    body: Body,
    found: Mapping[int, Candidate],
) -> Iterator[Candidate]:
    """A candidate for each entry whose words stand on its page."""
    for page, entries in groupby(outline, lambda entry: entry.page):
        if not 0 <= page < len(layout.pages):
            continue
        starts: dict[str, list[int]] = defaultdict(list)
        for number in layout.pages[page].lines:
            if number not in skip and (start := _start(layout.lines[number].text)):
                starts[start].append(number)
        taken: set[int] = set()
        for entry in entries:
            wanted = "" if _CAPTION.match(entry.title) else _form(entry.title)
            for number in starts.get(wanted[:START], ()) if len(wanted) > 2 else ():
                run = _matching(layout, number, wanted) if number not in taken else []
                if run:
                    taken.add(number)
                    before = run[0] - 1
                    if before in found and found[before].lines[-1] == run[-1]:
                        run = [before, *run]  # a number that stands apart
                    text = " ".join(entry.title.split())
                    yield Candidate(
                        lines=tuple(run), text=text, style=_style(layout.lines[run[-1]], layout.lines[run[-1]].text), number=_number(text),
                        plain=False, above_text=True, outline=entry.level,
                    )  # fmt: skip
                    break


def _matching(layout: Layout, first: int, wanted: str) -> list[int]:
    """The lines from `first` on that say together what is wanted; none if they do not."""
    said = ""
    run: list[int] = []
    for number in range(first, min(first + 2 * MOST_LINES, len(layout.lines))):
        said += _form(layout.lines[number].text) if number == first else letters_and_digits(layout.lines[number].text)
        run.append(number)
        if said == wanted:
            return run
        if not wanted.startswith(said):
            return []
    return []


def _start(text: str) -> str:
    """The first letters of `_form`, of which the first words of a line are enough."""
    start = _form(text[:MOST_WORDS].rpartition(" ")[0]) if len(text) > MOST_WORDS else ""
    return (start if len(start) >= START else _form(text))[:START]


def _form(text: str) -> str:
    match = _NUMBER.match(text.lstrip())
    return letters_and_digits(text.lstrip()[match.end() :] if match else text)
