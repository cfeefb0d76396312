"""Raised letters: exponents become "^", marks of citations stand apart from the words that they are glued to.

MuPDF's XHTML says which letters are raised; it has the same signs in the same order as the lines, blanks aside, so that
counting them finds each there. What is raised after a number or a sign of mathematics is an exponent; a
minus makes it one after a unit, too ("cm^-1"). Numbers after words are marks of citations, or of notes, which read the same.
All else stays as it is printed, as in "Ca2+", "14C", "5th" and "H2O", whose digits are lowered.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import unescape
from itertools import accumulate
from typing import Literal

import msgspec

from jobs.parsing.footnotes import numbered_notes, with_mark
from jobs.parsing.layout import Layout, Page

__all__ = ["Citations", "with_raised"]

Citations = Literal["mark", "drop", "keep"]
"""What becomes of a citation's number: " [3]" behind its word, nothing, or what is printed."""

_Place = tuple[int, str]
"""The page of a footnote, from 0, and its number."""

_RAISED = re.compile(r"((?:<sup>[^\n]{1,80}?</sup>)+)")
_TAG = re.compile(r"<[^>]*>")
_BLANK = re.compile(r"&#x(?:9|a|d|20);")
_SIGN = re.compile(r"&[^;]*;")
_NOT_BLANK = re.compile(r"[^ \t\n\r]")
_DIGITS = re.compile(r"[-−–]?\s?\d{1,3}|[-−–]\s?\d{1,3}[.,/]\d+")
_NUMBERS = re.compile(r"\d+")
_LETTER = re.compile(r"[-−–]?[a-z]")
_MARKS = re.compile(r"\[?\d{1,3}[a-z]?(?:\s?[,;–—−-]\s?\d{1,3}[a-z]?)*,?\]?")
_TEN = re.compile(r"(?:^|[^\d.,])10 ?$|[×·*] ?10 ?$|\d[.,]10$")
_NUMBER = re.compile(r"(?:^|[\s=<>~≈×·*/^(\[{+−-])\d{1,4}$")
_POWER_OF_TWO = re.compile(r"(?:^|[^\w.,])(?:[48]|16|32|64|128|256|512|1024)$")
_YEAR = re.compile(r"(?:^|[\s(,–-])(?:19|20)\d\d$|(?<!\w)[A-Z]\.\d+$")  # or the number of a part of an appendix
_SYMBOL = re.compile(r"(?:^|[^\w.’'-])[A-Za-zα-ωΑ-Ω∆∇]$")
_UNIT = re.compile(r"(?:^|[\s\d(/·×])(?:[kcdnµμm]?m|ft|in|Å|px|yd)$")
_WORD = re.compile(
    r"(?:[^\W\d_]{3}|\d{4}\)|[^\W\d_]{2}\))[)’”\"\]]?[.,;:!?]?[)’”\"]?$|[\d%)\]][.,;:!?]$|\([A-Z]?[a-z]{2,}[^()]*\)$"
)
_BEFORE_NOTE = re.compile(r"[^\W\d_]{2}[)’”\"\]—]?[.,;:!?]?[)’”\"]? ?$|[\d%)\]][.,;:!?] ?$")
_FUNCTION = re.compile(r"(?<![^\W_])(?:sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|log|exp)$")
_PLAIN_WORD = re.compile(r"[a-z]{4}[.,;:)]?$")
_PLAIN_WORD_BEFORE_NOTE = re.compile(r"[a-z]{4}[.,;:)]? ?$|[.,;:!?] ?$")
_STOP = re.compile(r"[.,;:]$")
CONTEXT = 60  # signs before what is raised, which tell what it is
LONGEST = 80  # signs
FEW_MARKS = 4  # on fewer no document's citations are raised


class _Raised(msgspec.Struct, frozen=True, gc=False):
    """What is raised, the text before it in its block, and where it stands: the line, and its first letter there."""

    text: str
    before: str
    line: int
    start: int


def with_raised(layout: Layout, citations: Citations = "mark") -> dict[int, str]:
    """The lines, by number, whose text changes, with the new one.

    A footnote begins with the mark that leads to it from the text of its page. Where a document has few marks, so that
    raised numbers may be exponents, those that lead to a footnote are marks all the same.
    """
    found = [raised for page in layout.pages if page.raised for raised in _on_page(layout, page)]
    marks = sum(1 for each in found if _PLAIN_WORD.search(each.before) and _MARKS.fullmatch(each.text))
    style = citations if marks >= FEW_MARKS else "keep"
    notes: Mapping[_Place, Sequence[int]] = numbered_notes(layout) if found and citations != "keep" else {}
    certain = {at for at, own in notes.items() if not any(_is_address(layout.lines[number].text) for number in own)}
    texts: dict[int, str] = {}
    cited: set[_Place] = set()
    of_authors: set[str] = set()
    shift, line = 0, -1
    for each in found:
        if each.line != line:
            line, shift = each.line, 0
        page, text = layout.page_of[line], texts.get(line, layout.lines[line].text)
        at = each.start + shift
        before, after = text[:at], text[at + len(each.text) :]
        leads = (page, each.text) in certain and _leads_to_note(each, after)
        if leads or (style != "keep" and _is_mark(each, after)):
            numbers = _NUMBERS.findall(each.text)
            if page == 0 and _names_people(text):
                of_authors.update(numbers)
                continue
            cited.update((page, number) for number in numbers)
            new = _marked(before.rstrip() if leads else before, each.text, after, citations)
        elif _is_exponent(each, after, style == "keep"):
            new = f"{before.rstrip()}^{each.text}{after}"
        else:
            continue
        shift += len(new) - len(text)
        texts[line] = new
    for number, line in _begun(layout, notes, cited, of_authors):
        texts[line] = with_mark(texts.get(line, layout.lines[line].text), _mark(number, citations))
    return texts


def _begun(
    layout: Layout, notes: Mapping[_Place, Sequence[int]], cited: Collection[_Place], of_authors: Collection[str]
) -> Iterator[tuple[str, int]]:
    """The number and the first line of each footnote that is cited on its page; no address on the first."""
    for (page, number), lines in notes.items():
        for line in lines if (page, number) in cited else ():
            if page or number not in of_authors or not _is_address(layout.lines[line].text):
                yield number, line


def _on_page(layout: Layout, page: Page) -> Iterator[_Raised]:
    """What is raised on a page and may be an exponent or a mark."""
    texts = [layout.lines[number].text for number in page.lines]
    ends = list(accumulate(map(_signs, texts)))
    at = 0
    for number, part in enumerate(_RAISED.split(page.raised)):
        pieces = [_plain(piece) for piece in part[5:-6].split("</sup><sup>")] if number % 2 else [_plain(part)]
        length = sum(map(_signs, pieces))
        if number % 2 and length <= LONGEST:
            index = bisect_right(ends, at)
            before = ends[index - 1] if index else 0
            if at + length <= ends[-1] and index < len(texts):
                yield from _in_line(layout, page.lines[index], at - before, pieces)
        at += length


def _in_line(layout: Layout, number: int, at: int, pieces: Sequence[str]) -> Iterator[_Raised]:
    """The raised `pieces` that stand in a line behind `at` signs of it: all together, or those alone that are exponents of ten."""
    text = layout.lines[number].text
    places = [match.start() for match in _NOT_BLANK.finditer(text)]
    known = _before(layout, number)

    def raised(at: int, piece: str) -> _Raised | None:
        end = at + _signs(piece)
        if end == at or end > len(places):
            return None
        start = places[at]
        own = text[start : places[end - 1] + 1]
        if "".join(own.split()) != "".join(piece.split()):  # the two texts differ on this page
            return None
        return _Raised(own, (known + text[:start])[-CONTEXT:], number, start)

    whole = raised(at, "".join(pieces))
    if whole and _may_be(whole):
        yield whole
        return
    for piece in [word for each in pieces for word in each.split()]:
        alone = raised(at, piece)
        if alone and _DIGITS.fullmatch(alone.text) and _TEN.search(alone.before):
            yield alone
        at += _signs(piece)


def _may_be(raised: _Raised) -> bool:
    text = raised.text
    if _LETTER.fullmatch(text):
        return not text.isalpha() or bool(_SYMBOL.search(raised.before))
    return bool(_DIGITS.fullmatch(text) or _MARKS.fullmatch(text))


def _before(layout: Layout, number: int) -> str:
    """The end of what stands before a line in its block."""
    parts: list[str] = []
    length = 0
    first = number
    while first and length < CONTEXT and layout.block_of[first - 1] == layout.block_of[number]:
        first -= 1
        parts.append(f"{layout.lines[first].text.rstrip()} ")
        length += len(parts[-1])
    return "".join(reversed(parts))


def _signs(text: str) -> int:
    """How many there are that are not blank."""
    return len(text) - sum(map(text.count, " \t\n\r"))


def _plain(xhtml: str) -> str:
    text = _TAG.sub("", xhtml) if "<" in xhtml else xhtml
    if "&" not in text:
        return text
    return _SIGN.sub(_sign, _BLANK.sub(" ", text))


def _sign(match: re.Match[str]) -> str:
    """One sign for each that is written as a name or a number, so that they can be counted."""
    sign = unescape(match[0])
    return sign if len(sign) == 1 else "\ufffd"


def _is_isotope(raised: _Raised, after: str) -> bool:
    """Whether it belongs to what follows, behind a number or a word of its own: "10 14C dates"."""
    return raised.before[-1:].isspace() and after[:1].isupper() and raised.text.isdecimal()


def _is_mark(raised: _Raised, after: str) -> bool:
    """Whether it leads from a word to a reference or a note."""
    text, before = raised.text, raised.before
    if not _MARKS.fullmatch(text) or _is_isotope(raised, after):
        return False
    is_power = text in ("2", "3") and (_FUNCTION.search(before) or _POWER_OF_TWO.search(before))
    return not is_power and bool(_WORD.search(before) or _YEAR.search(before))


def _leads_to_note(raised: _Raised, after: str) -> bool:
    """Whether a number that begins a footnote of its page leads there: other words and a blank may stand before it, too."""
    before = raised.before
    if before[-1:].isspace() and after[:1].isalnum():  # an isotope
        return False
    if raised.text in ("2", "3"):  # which may be the power of a unit or a function
        return bool(_PLAIN_WORD_BEFORE_NOTE.search(before))
    return bool(_BEFORE_NOTE.search(before) or _YEAR.search(before)) and not _FUNCTION.search(before.rstrip())


def _marked(before: str, text: str, after: str, citations: Citations) -> str:
    """The line with the mark `text` as it should be written."""
    mark = _mark(text.strip("[],"), citations)
    mark = f" {mark}" if mark else ""
    gap = " " if after[:1].isalnum() else ""
    if stop := _STOP.search(before):  # the mark of a sentence goes before its full stop
        return f"{before[: stop.start()]}{mark}{stop[0]}{gap}{after}"
    return f"{before}{mark}{gap}{after}"


def _mark(numbers: str, citations: Citations) -> str:
    return "" if citations == "drop" else f"[{numbers}]"


def _is_exponent(raised: _Raised, after: str, is_certain: bool) -> bool:
    """Whether it is an exponent; `is_certain` where raised numbers are no citations in this document."""
    text, before = raised.text, raised.before.rstrip()
    if _is_isotope(raised, after):
        return False
    if not _DIGITS.fullmatch(text):
        return bool(_LETTER.fullmatch(text) and _SYMBOL.search(before))
    if text[0] in "-−–":
        return before[-1:].isalnum() or before.endswith((")", "]"))
    if _TEN.search(before):
        return True
    if text in "23" and any(pattern.search(before) for pattern in (_UNIT, _FUNCTION, _POWER_OF_TWO)):
        return True
    if text == "0":  # so some fonts have a prime
        return False
    if before.endswith((")", "]", "|")) or _SYMBOL.search(before):
        return is_certain or text in "23456"
    return bool(_NUMBER.search(before)) and (is_certain or before.endswith((" 2", "(2", "=2")))


def _names_people(text: str) -> bool:
    """Whether most words begin with a capital, as in a list of authors, whose marks lead to their addresses."""
    words = [word for word in text.split() if word[0].isalpha()]
    return 3 * sum(word[0].isupper() for word in words) >= 2 * len(words)


def _is_address(text: str) -> bool:
    """Whether what stands behind a number may be an address: "1Department of Mills" names as people do, "1https" does not."""
    return any(word[0].isalpha() for word in text.split()) and _names_people(text)
