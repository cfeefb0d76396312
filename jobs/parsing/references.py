"""Which lines of a paper are lists of references.

Each line near a heading as "References", or near numbers that count entries, gets a weight of evidence: initials, volumes
and pages, venues, years. The best division of the lines into text and lists is then the cheapest path through both
(Viterbi's algorithm): a list begins at little cost with a heading and ends at little cost where another section begins; at
any other place either needs several lines of evidence. So lists without heading, several lists, and the text between and
behind them are distinguished by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from jobs.parsing.layout import UNITS, Layout, Line
from jobs.parsing.section_names import BEHIND_REFERENCES, REFERENCE_HEADINGS

__all__ = ["find_references"]

_LONGEST_HEADING = 48
_LAST_LETTERS = frozenset(
    letter for heading in REFERENCE_HEADINGS for letter in heading[-1] + heading[-1].upper() + " .:"
)
_FIRST_LETTERS = frozenset(letter for heading in REFERENCE_HEADINGS for letter in heading[0] + heading[0].upper())
_NUMBERS = frozenset("[( 0123456789")
_ENUMERATED = re.compile(r"\s*[\[(]?(\d{1,3})[\].)](?:\s|$)")
_ENTRY = re.compile(r"\s*(?:[\[(]?\d{1,3}[\].)](?:\s|$)|\[[A-Z][\w+-]{1,8}\])")
# Each pattern begins with a set of letters, which is searched for fast; what must stand before it is looked at after.
_ET_AL = re.compile(r"et al\.?,? ?[\[(]?(?:19|20)\d\d")
_PAGES = re.compile(
    r"\d+ ?\(\d+\) ?[:,]|\d ?[:,] ?[a-z]?\d+ ?[-–—] ?[a-z]?\d+|\d{2,4} ?[–—-] ?\d{2,4}[.,]|\d+ ?[-–—] ?\d+[.,]? ?\(?(?:19|20)\d\d"
)
_INITIALS = re.compile(
    r"[A-Z](?:(?<!\w.)\.[ -]?(?:[A-Z]\.[ -]?)*(?:[A-Z][a-zà-ÿ’]|,|;|and\b|&)|[\w’-]+(?:,? [A-Z]{1,3}(?=[,;.] )|, [A-Z]\.))"
)
_YEAR = re.compile(r"[12](?<![\d-].)[09]\d\d(?!\d)")
_CAPITALS = re.compile(
    r"[A-Z](?<!\w.)[a-zà-ÿ]+[ ,:.-]+(?:(?:of|and|the|for|on|in) )*(?:[A-Z][a-zà-ÿ]+[ ,:.-]+(?:(?:of|and|the|for|on|in) )*){2}"
)
_NAMES = re.compile(r"[A-Z](?<!\w.)[a-zà-ÿ]+ (?:[A-Z]\. )?[A-Z][\w’-]+(?:,| and\b)")
_VENUES = frozenset(
    "doi arxiv proceedings journal press springer ed eds conference trans transactions preprint isbn wiley elsevier symp symposium "
    "pmid phd accessed proc adv advances vol pp in: elife ieee acm workshop biorxiv".split()
)
_LINKS = ("http", "doi:", "arxiv:", "doi.org", " In ")
_WEIGHTS = {
    "cited": -1.2,
    "pages": 1.7,
    "initials": 1.4,
    "venue": 1.0,
    "dated": 1.5,
    "year": 0.8,
    "names": 0.7,
    "capitals": 0.6,
}
_PEOPLE = frozenset(["initials", "names", "capitals"])  # who is thanked has them as well
NOTHING, LITTLE = -0.8, -0.3  # the weight of a line that says nothing of the kind, and of a short one
NUMBER = 1.0  # ... of the number of an entry
SOME, MOST = 0.2, 3.0  # the most weight of a line that only names people, and of any
HEADING = 2.0
SHORT = 25  # characters
OPEN, OPEN_AT_NUMBER, REOPEN = (
    -16.0,
    -14.0,
    -9.0,
)  # what it costs to begin a list: at all, at an entry's number, after another
CLOSE, CLOSE_AT_STYLE, CLOSE_AT_HEADING = -9.0, -5.0, -1.2  # what it costs to end one
BEHIND = 80  # lines behind the last list in which another may go on


def find_references(layout: Layout, skipped: Collection[int] = ()) -> list[range]:
    """The lists as ranges of lines; furniture, which is `skipped`, may stand in them. A heading belongs to its list."""
    found: list[range] = []
    done = 0
    for start in _candidates(layout.lines, skipped):
        if start >= done:
            own, done = _divide(layout, _rows(layout, skipped, start))
            found += own
    return found


class _Row(msgspec.Struct, frozen=True, gc=False):
    """Lines that stand beside each other, as words of a line with wide gaps do: the first, the last, and their text."""

    first: int
    last: int
    text: str


def _rows(layout: Layout, skipped: Collection[int], start: int) -> Iterator[_Row]:
    """The rows from line `start` on."""
    lines = layout.lines
    first = last = -1
    for number in range(start, len(lines)):
        if number in skipped:
            continue
        line = lines[number]
        if first >= 0 and line.y == lines[last].y and line.x > lines[last].x and number == last + 1:
            last = number
            continue
        if first >= 0:
            yield _row(lines, first, last)
        first = last = number
    if first >= 0:
        yield _row(lines, first, last)


def _row(lines: Sequence[Line], first: int, last: int) -> _Row:
    text = lines[first].text if first == last else " ".join(line.text for line in lines[first : last + 1])
    return _Row(first, last, text)


def _candidates(lines: Sequence[Line], skipped: Collection[int]) -> list[int]:
    """Where a list may begin: at headings, and where three numbers of entries follow each other."""
    found: set[int] = set()
    before: dict[int, int] = {}  # where each number stood last
    for number, line in enumerate(lines):
        text = line.text
        if text[:1] in _NUMBERS and (match := _ENUMERATED.match(text)):
            value = int(match[1])
            first, second = before.get(value - 2, -99), before.get(value - 1, -99)
            if number - second <= 15 and 0 < second - first <= 15 and _is_listed(lines[first : number + 1]):
                found.add(first)
            before[value] = number
        if 1 < len(text) < _LONGEST_HEADING and text[-1] in _LAST_LETTERS and _may_head(text) and _is_heading(text):
            found.add(number)
    return sorted(found.difference(skipped))


def _is_listed(lines: Sequence[Line]) -> bool:
    """Whether a few lines are more likely entries of references than any enumeration."""
    return sum(bool(_YEAR.search(line.text)) + bool(_INITIALS.search(line.text)) for line in lines) >= 2


def _may_head(text: str) -> bool:
    """Whether its first letter is that of a heading, unless something stands before the words."""
    return text[0] in _FIRST_LETTERS or not text[0].isalpha() or " " in text[:4]


def _is_heading(text: str) -> bool:
    letters = "".join(filter(str.isalpha, text)).casefold()
    if letters in REFERENCE_HEADINGS:
        return True
    return " " in text[:4] and "".join(filter(str.isalpha, text.partition(" ")[2])).casefold() in REFERENCE_HEADINGS


def _divide(layout: Layout, upcoming: Iterable[_Row]) -> tuple[list[range], int]:
    """The lists in the rows up to the one behind which none goes on, and the number of the line behind it.

    The three states are the text before any list, a list, and the text behind one.
    """
    before, inside, behind = 0.0, OPEN, OPEN + CLOSE
    rows: list[_Row] = []
    opened: list[int] = []  # for each row: from which state the best path enters the list; 0 where it is in it already
    closed: list[bool] = []
    last = 0
    for index, row in enumerate(upcoming):
        weight, opening = _weight(row.text)
        closing = _closing(layout, rows[-1] if rows else row, row)
        enter, again = before + opening, behind + max(REOPEN, opening)
        best = max(enter, again, inside)
        rows.append(row)
        opened.append(0 if best == inside else 1 if best == enter else 2)
        closed.append(inside + closing > behind)
        inside, behind = best + weight, max(behind, inside + closing)
        if inside > max(before, behind):
            last = index
        elif index - last > BEHIND:
            break
    spans = _traced(opened, closed, inside, behind, before)
    return [range(rows[a].first, rows[b].last + 1) for a, b in spans], rows[-1].last + 1


def _traced(
    opened: Sequence[int], closed: Sequence[bool], inside: float, behind: float, before: float
) -> list[tuple[int, int]]:
    """First and last index of each list on the best path, which is followed from its end."""
    if before >= max(inside, behind):
        return []
    is_inside = inside >= behind
    found: list[tuple[int, int]] = []
    end = len(opened) - 1
    for index in range(len(opened) - 1, -1, -1):
        if is_inside:
            if opened[index]:
                found.append((index, end))
                if opened[index] == 1:
                    break
                is_inside = False
        elif closed[index]:
            is_inside, end = True, index - 1
            if opened[end]:
                found.append((end, end))
                if opened[end] == 1:
                    break
                is_inside = False
    return found[::-1]


def _weight(text: str) -> tuple[float, float]:
    """For how much a row speaks for a list, and what it costs that one begins with it."""
    if len(text) < _LONGEST_HEADING and _is_heading(text):
        return HEADING, 0.0
    if BEHIND_REFERENCES.match(text):
        return NOTHING, OPEN
    said = _said(text)
    weight = sum(map(_WEIGHTS.__getitem__, said)) + (NOTHING if len(text) > SHORT else LITTLE)
    if _ENTRY.match(text):
        return min(weight + (NUMBER if said else NUMBER / 4), MOST), OPEN_AT_NUMBER
    return min(weight, SOME if said <= _PEOPLE else MOST), OPEN


def _said(text: str) -> set[str]:
    """Which of the kinds of evidence a row has."""
    said: set[str] = set()
    if "et al" in text and _ET_AL.search(text):
        said.add("cited")
    if _PAGES.search(text):
        said.add("pages")
    if _INITIALS.search(text):
        said.add("initials")
    if not _VENUES.isdisjoint(text.lower().replace(".", " ").replace(",", " ").split()) or any(
        link in text for link in _LINKS
    ):
        said.add("venue")
    if match := _YEAR.search(text):
        before, after = text[max(0, match.start() - 2) : match.start()], text[match.end() : match.end() + 3]
        said.add("dated" if _is_date(before, after.lstrip("abcdef")) else "year")
    if _CAPITALS.search(text):
        said.add("capitals")
    if _NAMES.search(text):
        said.add("names")
    return said


def _is_date(before: str, after: str) -> bool:
    """Whether a year stands as those of references do: "(2019).", or ", 2019."."""
    if before.endswith("("):
        return after[:1] == ")" and after[1:2] in (".", ",", ":")
    return before.strip()[-1:] in (".", ",") and after[:1] == "."


def _closing(layout: Layout, before: _Row, row: _Row) -> float:
    """What it costs that a list ends before a row."""
    is_new = layout.block_of[row.first] != layout.block_of[before.last]
    line, last = layout.lines[row.first], layout.lines[before.last]
    if BEHIND_REFERENCES.match(row.text):
        return CLOSE_AT_HEADING if is_new else 2 * CLOSE_AT_HEADING
    if is_new and (abs(line.font.size - last.font.size) > 0.7 * UNITS or line.is_bold > last.is_bold):
        return CLOSE_AT_STYLE
    return CLOSE
