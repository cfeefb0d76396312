"""Raised letters: exponents become "^", marks of citations stand apart from the words that they are glued to.

MuPDF's XHTML says which letters are raised. What is raised after a number or a sign of mathematics is an exponent; a
minus makes it one after a unit, too ("cm^-1"). Numbers after words are marks of citations, or of notes, which read the same.
All else stays as it is printed, as in "Ca2+", "14C", "5th" and "H2O", whose digits are lowered.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from html import unescape
from itertools import accumulate
from typing import Literal

import msgspec

from jobs.parsing.layout import Layout, Page

__all__ = ["Citations", "with_raised"]

Citations = Literal["mark", "drop", "keep"]
"""What becomes of a citation's number: " [3]" behind its word, nothing, or what is printed."""

_RAISED = re.compile(r"<sup>([^\n]{1,80}?)</sup>")
_TAG = re.compile(r"<[^>]*>|^[^<>]*>")
_DIGITS = re.compile(r"[-−–]?\s?\d{1,3}|[-−–]\s?\d{1,3}[.,/]\d+")
_LETTER = re.compile(r"[-−–]?[a-z]")
_MARKS = re.compile(r"\[?\d{1,3}[a-z]?(?:\s?[,;–—−-]\s?\d{1,3}[a-z]?)*,?\]?")
_TEN = re.compile(r"(?:^|[^\d.,])10 ?$|[×·*] ?10 ?$|\d[.,]10$")
_NUMBER = re.compile(r"(?:^|[\s=<>~≈×·*/^(\[{+−-])\d{1,4}$")
_SYMBOL = re.compile(r"(?:^|[^\w.’'-])[A-Za-zα-ωΑ-Ω∆∇]$")
_UNIT = re.compile(r"(?:^|[\s\d(/·×])(?:[kcdnµμm]?m|ft|in|Å|px|yd)$")
_WORD = re.compile(
    r"(?:[^\W\d_]{3}|\d{4}\)|[^\W\d_]{2}\))[)’”\"\]]?[.,;:!?]?[)’”\"]?$|[\d%)\]][.,;:!?]$|\([A-Z]?[a-z]{2,}[^()]*\)$"
)
_FUNCTION = re.compile(r"(?<![^\W_])(?:sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|log|exp)$")
_PLAIN_WORD = re.compile(r"[a-z]{4}[.,;:)]?$")
_STOP = re.compile(r"[.,;:]$")
CONTEXT = 200  # signs of XHTML before what is raised, which find its place on the page
TAILS = (30, 12)  # ... of which so many letters must stand there
FEW_MARKS = 4  # on fewer no document's citations are raised


class _Raised(msgspec.Struct, frozen=True, gc=False):
    """What is raised, the text before it, and where it stands: the line, and its first letter there."""

    text: str
    before: str
    line: int
    start: int


def with_raised(layout: Layout, citations: Citations = "mark") -> dict[int, str]:
    """The lines, by number, whose text changes, with the new one."""
    found = [raised for page in layout.pages if page.raised for raised in _on_page(layout, page)]
    marks = sum(1 for each in found if _PLAIN_WORD.search(each.before) and _MARKS.fullmatch(each.text))
    style = citations if marks >= FEW_MARKS else "keep"
    texts: dict[int, str] = {}
    shift, line = 0, -1
    for each in found:
        if each.line != line:
            line, shift = each.line, 0
        text = texts.get(line, layout.lines[line].text)
        at = each.start + shift
        new = _written(text[:at], each, text[at + len(each.text) :], style)
        if new is not None and not (layout.page_of[line] == 0 and "^" not in new and _names_people(text)):
            shift += len(new) - len(text)
            texts[line] = new
    return texts


def _on_page(layout: Layout, page: Page) -> Iterator[_Raised]:
    """What is raised on a page and may be an exponent or a mark."""
    found = list(_candidates(page.raised.replace("</sup><sup>", "")))
    if not found:
        return
    lines = [layout.lines[number].text.rstrip() for number in page.lines]
    starts = list(accumulate((len(line) + 1 for line in lines), initial=1))
    parted = "\n" + "\n".join(lines)
    flowing = parted.replace("\n", " ")
    at = 0
    for text, before, is_all, after in found:
        if is_all and len(before) <= TAILS[-1]:
            place = _place(parted, at, f"\n{before}", text + after)
            if place < 0 and " " in before:
                place = _place(flowing, at, f" {before}", text + after)
        else:
            place = max(_place(flowing, at, before[-length:].lstrip(), text + after) for length in TAILS)
        if place >= 0:
            index = bisect_right(starts, place) - 1
            yield _Raised(text, before, page.lines[index], place - starts[index])
            at = place + len(text)


def _candidates(xhtml: str) -> Iterator[tuple[str, str, bool, str]]:
    """What is raised, the text before it and whether that is all of its paragraph, and the letter behind it."""
    for match in _RAISED.finditer(xhtml):
        raised = _plain(match[1])
        text = raised.strip()
        if not (_DIGITS.fullmatch(text) or _LETTER.fullmatch(text) or _MARKS.fullmatch(text)):
            continue
        before, is_all = _before(match)
        if not text.isalpha() or _SYMBOL.search(before):
            after = xhtml[match.end()].strip("<&\n ") if raised == raised.rstrip() else ""
            yield text, before, is_all, after


def _place(text: str, at: int, before: str, raised: str) -> int:
    """Where `raised` stands in the text of its page, at or behind `at`; -1 if it is not found."""
    for known in (before, f"{before} "):
        place = text.find(known + raised, max(0, at - len(known)))
        if place >= 0 and before.strip():
            return place + len(known)
    return -1


def _before(match: re.Match[str]) -> tuple[str, bool]:
    """The text before what is raised, and whether it is all that its paragraph has there."""
    start = max(0, match.start() - CONTEXT)
    _, end, before = match.string[start : match.start()].rpartition("\n")
    if not end and start:
        before = before.partition(" ")[2]  # the first word, or tag, is not whole
    return _plain(before), bool(end)


def _plain(xhtml: str) -> str:
    text = _TAG.sub("", xhtml) if ">" in xhtml else xhtml
    return (unescape(text) if "&" in text else text).replace("  ", " ")


def _written(before: str, raised: _Raised, after: str, citations: Citations) -> str | None:
    """The line with what is raised in it as it should be written; None where it stays as it is."""
    text = raised.text
    if raised.before[-1:].isspace() and after[:1].isupper() and text.isdecimal():
        return None  # an isotope, behind a number or a word of its own: "10 14C dates"
    is_power = text in ("2", "3") and _FUNCTION.search(raised.before)
    is_mark = citations != "keep" and not is_power and _MARKS.fullmatch(text) and _WORD.search(raised.before)
    if not is_mark and _is_exponent(raised.before.rstrip(), text, citations == "keep"):
        return f"{before.rstrip()}^{text}{after}"
    if not is_mark:
        return None
    mark = "" if citations == "drop" else f" [{text.strip('[],')}]"
    gap = " " if after[:1].isalnum() else ""
    if stop := _STOP.search(before):  # the mark of a sentence goes before its full stop
        return f"{before[: stop.start()]}{mark}{stop[0]}{gap}{after}"
    return f"{before}{mark}{gap}{after}"


def _is_exponent(before: str, text: str, is_certain: bool) -> bool:
    """Whether `text` is an exponent; `is_certain` where raised numbers are no citations in this document."""
    if not _DIGITS.fullmatch(text):
        return bool(_LETTER.fullmatch(text) and _SYMBOL.search(before))
    if text[0] in "-−–":
        return before[-1:].isalnum() or before.endswith((")", "]"))
    if _TEN.search(before) or (text in "23" and (_UNIT.search(before) or _FUNCTION.search(before))):
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
