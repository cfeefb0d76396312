"""Which lines of a paper are lists of references.

Each line near a heading as "References", or near numbers that count entries, gets a weight of evidence: initials, volumes
and pages, venues, years. The best division of the lines into text and lists is then the cheapest path through both
(Viterbi's algorithm): a list begins at little cost with a heading and ends at little cost where another section begins; at
any other place either needs several lines of evidence. So lists without heading, several lists, and the text between and
behind them are told from each other by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from jobs.parsing.layout import UNITS, Layout, Line

__all__ = ["find_references"]

_HEADINGS = frozenset(
    "references reference referencesandnotes notesandreferences referencesandfurtherreading referencescited citedreferences "
    "referencelist listofreferences bibliography selectedbibliography bibliographyandreferences literaturecited literature "
    "citedliterature workscited bibliografía bibliografia bibliografıa referencias referenciasbibliográficas bibliographie "
    "références literatur literaturverzeichnis quellenverzeichnis riferimentibibliografici referênciasbibliográficas referências "
    "literatura 参考文献 引用文献 文献 參考文獻 методreferences списоклитературы литература additionalreferences methodsreferences "
    "supplementaryreferences supplementalreferences onlinecontentreferences".split()
)
_LONGEST_HEADING = 48
_ENUMERATED = re.compile(r"\s*[\[(]?(\d{1,3})[\].)](?:\s|$)")
_ENTRY = re.compile(r"\s*(?:[\[(]?\d{1,3}[\].)](?:\s|$)|\[[A-Z][\w+-]{1,8}\])")
_END = re.compile(
    r"[\d.\sIVXA-Z]{0,6}(?i:appendi(?:x|ces)\b|supplement|supporting information|acknowledge?ments?\b|author contributions?|"
    r"authors[’'] contributions|competing interests?|conflicts? of interest|publisher[’']s note|disclaimer|funding\b|data availability|"
    r"code availability|availability of|methods$|materials and methods|online content|additional information|extended data|"
    r"reporting summary|sample availability|copyright\b|©|received\b|how to cite|cite this|figure legends|tables?$|figures?$|"
    r"biograph(?:y|ies)|about the authors?|ethics|abbreviations|open access|this article|this work is|reprints|correspondence|"
    r"peer review|proofs?\b|付録|附录|附錄|致谢|致謝|謝辞|作者简历|apéndice|anexo|anhang|annexe)"
)
_EVIDENCE = re.compile(
    r"(?P<cited>\bet al\.?,? ?[\[(]?(?:19|20)\d\d)|"
    r"(?P<pages>\b\d+ ?\(\d+\) ?[:,]|\d ?[:,] ?[a-z]?\d+ ?[-–—] ?[a-z]?\d+|\bpp?\. ?\d|\b\d{2,4} ?[–—-] ?\d{2,4}[.,]|\b[Vv]ol\. ?\d|\d+ ?[-–—] ?\d+[.,]? ?\(?(?:19|20)\d\d)|"
    r"(?P<initials>\b[A-Z]\.[ -]?(?:[A-Z]\.[ -]?)*(?:[A-Z][a-zà-ÿ’]|,|;|and\b|&)|[A-Z][\w’-]+,? [A-Z]{1,3}(?=[,;.] )|[A-Z][\w’-]+, [A-Z]\.)|"
    r"(?P<venue>(?i:\bdoi\b|\barxiv\b|https?:|(?:^|[.,”\"] )in:? [A-Z]|\bproceedings\b|\bjournal of\b|\bpress\b|\bspringer\b|\beds?\.|"
    r"\bconference\b|\btrans(?:actions|\.)|\bpreprint\b|\bISBN|\bwiley\b|\belsevier\b|\bsymp(?:osium|\.)|\bPMID|"
    r"\bPhD thesis|\badvances in\b|\bavailable (?:from|at|online)|\baccessed\b)|\bJ\. )|"
    r"(?P<dated>\((?:19|20)\d\d[a-z]?\)[.,:]|[.,] ?(?:19|20)\d\d[a-z]?\.)|(?P<year>(?<![\d-])(?:19|20)\d\d[a-z]?\b)|"
    r"(?P<capitals>(?:\b[A-Z][a-zà-ÿ]+[ ,:.-]+(?:of |and |the |for |on |in )*){3,})|(?P<names>\b[A-Z][a-zà-ÿ]+ (?:[A-Z]\. )?[A-Z][\w’-]+(?:,| and\b))"
)
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
BEHIND = 80  # so many lines behind the last list none goes on


def find_references(layout: Layout, skipped: Collection[int] = ()) -> list[range]:
    """The lists as ranges of lines; furniture, which is `skipped`, may stand in them. A heading belongs to its list."""
    rows = _rows(layout, skipped)
    found: list[range] = []
    done = 0
    for start in _candidates(rows):
        if start >= done:
            own, done = _divide(layout, rows, start)
            found += own
    return found


class _Row(msgspec.Struct, frozen=True, gc=False):
    """Lines that stand beside each other, as words of a line with wide gaps do: the first, the last, and their text."""

    first: int
    last: int
    text: str


def _rows(layout: Layout, skipped: Collection[int]) -> list[_Row]:
    rows: list[_Row] = []
    lines = layout.lines
    start = last = -1
    for number, line in enumerate(lines):
        if number in skipped:
            continue
        if start >= 0 and line.y == lines[last].y and line.x > lines[last].x and number == last + 1:
            last = number
            continue
        if start >= 0:
            rows.append(_row(lines, start, last))
        start = last = number
    if start >= 0:
        rows.append(_row(lines, start, last))
    return rows


def _row(lines: Sequence[Line], first: int, last: int) -> _Row:
    text = lines[first].text if first == last else " ".join(line.text for line in lines[first : last + 1])
    return _Row(first, last, text)


def _candidates(rows: Sequence[_Row]) -> list[int]:
    """Where a list may begin, as indexes: at headings, and where three numbers of entries follow each other."""
    found: list[int] = []
    before: dict[int, int] = {}  # where each number stood last
    for index, row in enumerate(rows):
        text = row.text
        if len(text) < _LONGEST_HEADING and _is_heading(text):
            found.append(index)
        elif text[:1] in "[(0123456789 " and (match := _ENUMERATED.match(text)):
            value = int(match[1])
            first, second = before.get(value - 2, -99), before.get(value - 1, -99)
            if index - second <= 12 and 0 < second - first <= 12:
                found.append(first)
            before[value] = index
    return sorted(set(found))


def _is_heading(text: str) -> bool:
    return "".join(filter(str.isalpha, text)).casefold() in _HEADINGS or (
        " " in text[:4] and "".join(filter(str.isalpha, text.partition(" ")[2])).casefold() in _HEADINGS
    )


def _divide(layout: Layout, rows: Sequence[_Row], start: int) -> tuple[list[range], int]:
    """The lists between `start` and the row behind which none goes on, and the index of that row.

    The three states are the text before any list, a list, and the text behind one.
    """
    before, inside, behind = 0.0, OPEN, OPEN + CLOSE
    opened: list[int] = []  # for each row: from which state the best path enters the list; 0 where it is in it already
    closed: list[bool] = []
    last = index = start
    for index in range(start, len(rows)):
        weight, opening = _weight(rows[index].text)
        closing = _closing(layout, rows, index)
        enter, again = before + opening, behind + max(REOPEN, opening)
        best = max(enter, again, inside)
        opened.append(0 if best == inside else 1 if best == enter else 2)
        closed.append(inside + closing > behind)
        inside, behind = best + weight, max(behind, inside + closing)
        if inside > max(before, behind) or index == start:
            last = index
        elif index - last > BEHIND:
            break
    spans = _traced(opened, closed, inside, behind, before)
    return [range(rows[start + a].first, rows[start + b].last + 1) for a, b in spans], index + 1


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
    if _END.match(text):
        return NOTHING, OPEN
    said = {match.lastgroup or "" for match in _EVIDENCE.finditer(text)}
    weight = sum(map(_WEIGHTS.__getitem__, said)) + (NOTHING if len(text) > SHORT else LITTLE)
    if _ENTRY.match(text):
        return min(weight + (NUMBER if said else NUMBER / 4), MOST), OPEN_AT_NUMBER
    return min(weight, SOME if said <= _PEOPLE else MOST), OPEN


def _closing(layout: Layout, rows: Sequence[_Row], index: int) -> float:
    """What it costs that a list ends before a row."""
    number, before = rows[index].first, rows[index - 1].last
    is_new = layout.block_of[number] != layout.block_of[before]
    line, last = layout.lines[number], layout.lines[before]
    if _END.match(rows[index].text):
        return CLOSE_AT_HEADING if is_new else 2 * CLOSE_AT_HEADING
    if is_new and (abs(line.font.size - last.font.size) > 0.7 * UNITS or line.is_bold > last.is_bold):
        return CLOSE_AT_STYLE
    return CLOSE
