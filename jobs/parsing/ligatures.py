"""Words that lost a ligature in print, restored from the words of the document.

Four things go wrong with "fi", "ff", "fl", "ffi", "ffl" and "Th", which fonts print as one sign:

- the sign has no letters in the file, and comes out as U+FFFD or as TeX's code for it: "e\ufffdective";
- nothing at all comes out for it: "signicant";
- a blank comes out behind it: "Th e", "fi brin", "diff erent";
- "Th" comes out as "T": "Te objective".

A document is repaired only where it shows the fault several times, and a word only where what comes out is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jobs.parsing.vocabulary import Vocabulary, is_common

__all__ = ["restore_words"]

ENOUGH = 3  # occurrences of a fault before it counts as the document's own
ENOUGH_LETTERS = 4000  # of Latin text, in which "fi", "ff" and "fl" stand 15 times or more

_LIGATURES = ("fi", "ff", "fl", "ffi", "ffl")
_TEX = {"\x0b": "ff", "\x0c": "fi", "\x0e": "ffi", "\x0f": "ffl"}  # "\r", its "fl", is a line end elsewhere
_SIGNS = (*_TEX, "\ufffd")
_LOST = re.compile(r"([\x0b\x0c\x0e\x0f\ufffd])([a-z]*)")
_LAST_LETTERS = re.compile(r"[^\W\d_]*\Z")
_SIGN_AND_BLANK = re.compile(r"([^\W\d_]*(?:[\ufb00-\ufb04]|\bTh)) ([a-z]+)")
_LETTERS_AND_BLANK = re.compile(r"\b([A-Za-z]*(?:fi|fl|ff)) ([a-z]+)")
_OPENING_T = re.compile(r"\bT([aeioru][a-z]*)\b")
_SMALL_T = re.compile(r"\bt[a-z]+\b")
_WORD = re.compile(r"[a-z]{5,}")
_SPELLED = {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl"}


def restore_words(pages: Sequence[str]) -> list[str]:
    """The printed text of `pages`, with damaged words restored where the document itself shows how."""
    vocabulary = Vocabulary(pages)
    restored = [_with_lost_signs(page, vocabulary) for page in pages]
    return _with_missing_ligatures(_with_th(_without_blanks(restored, vocabulary)))


def _with_lost_signs(page: str, vocabulary: Vocabulary) -> str:
    if not any(sign in page for sign in _SIGNS):
        return page
    return _LOST.sub(lambda match: _found(match, vocabulary), page)


def _found(match: re.Match[str], vocabulary: Vocabulary) -> str:
    """The letters of a lost sign, if they give a known word with what stands before and behind it."""
    sign, tail = match.groups()
    head = _LAST_LETTERS.search(match.string, max(0, match.start() - 40), match.start())
    assert head is not None
    if len(head[0]) + len(tail) > 1 and not _is_word(head[0] + tail):
        for letters in (_TEX[sign],) if sign in _TEX else _LIGATURES:
            if vocabulary.knows(f"{head[0]}{letters}{tail}".lower()):
                return letters + tail
    return match[0]


def _is_word(rest: str) -> bool:
    """Tokens without a vowel are pieces of words ("rst" of "first"), but for those of two letters, as "st"."""
    return rest != "nd" and is_common(rest) and (len(rest) < 3 or any(vowel in rest for vowel in "aeiouy"))


def _without_blanks(pages: list[str], vocabulary: Vocabulary) -> list[str]:
    """Without the blanks behind ligatures, if these are the rule."""
    if sum(len(_SIGN_AND_BLANK.findall(page)) for page in pages if "\ufb01 " in page or "Th " in page) >= ENOUGH:
        pages = [_SIGN_AND_BLANK.sub(lambda match: _without_blank(match, vocabulary), page) for page in pages]
    if sum(page.count(" fi ") + page.count("\nfi ") + page.count(" fl ") for page in pages) >= ENOUGH:
        pages = [_LETTERS_AND_BLANK.sub(lambda m: m[1] + m[2] if _is_broken(m) else m[0], page) for page in pages]
    return pages


def _without_blank(match: re.Match[str], vocabulary: Vocabulary) -> str:
    """Two words stay two where both are known and the joined one is not: "staff education"."""
    head, tail = match.groups()
    spelled = "".join(_SPELLED.get(sign, sign) for sign in head).lower()
    if is_common(spelled) and is_common(tail) and len(spelled) > 2 and not vocabulary.knows(spelled + tail):
        return match[0]
    return head + tail


def _is_broken(match: re.Match[str]) -> bool:
    head, tail = match[1].lower(), match[2]
    return is_common(head + tail) and not (len(head) > 2 and is_common(head) and is_common(tail))


def _with_th(pages: list[str]) -> list[str]:
    """With "Th" for "T" where the document has many a "Te", hardly a "The", and its own "the"."""
    short = sum(page.count("Te ") for page in pages)
    if short < ENOUGH or short <= sum(page.count("The ") for page in pages):
        return pages
    small = {word for page in pages for word in _SMALL_T.findall(page)}
    if "te" in small or "the" not in small:
        return pages
    return [_OPENING_T.sub(lambda match: _th(match[1], small), page) for page in pages]


def _th(rest: str, small: set[str]) -> str:
    """The word that "T" and `rest` stand for, where `small` are the document's own words with a small "t"."""
    long, short = f"th{rest}", f"t{rest}"
    own = long in small and short not in small
    is_name = is_common(f"Th{rest}") and not is_common(f"T{rest}")
    return f"Th{rest}" if own or is_name or (is_common(long) and not is_common(short)) else f"T{rest}"


def _with_missing_ligatures(pages: list[str]) -> list[str]:
    """With the ligatures that left no trace, in a text of some length that has none."""
    if any("fi" in page or "\ufb01" in page for page in pages):
        return pages
    if sum(len(_WORD.findall(page)) for page in pages) * 7 < ENOUGH_LETTERS:
        return pages
    return [_WORD.sub(lambda match: _with_ligature(match[0]), page) for page in pages]


def _with_ligature(word: str) -> str:
    """`word`, or the one common word that it may be without a ligature."""
    if is_common(word):
        return word
    places = range(len(word) + 1)
    found = {f"{word[:at]}{letters}{word[at:]}" for at in places for letters in _LIGATURES}
    common = [each for each in found if is_common(each)]
    return common[0] if len(common) == 1 else word
