"""Cleaning what a PDF says: from glyphs on lines to text that a model should learn from.

`clean` is idempotent: cleaning clean text changes nothing. Characters are classified by fixed ranges, not by the
Unicode tables of the running Python, so every machine makes the same text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase

from jobs.parsing.hyphens import join_broken_words
from jobs.parsing.ligatures import restore_words
from jobs.parsing.vocabulary import Vocabulary
from jobs.run.normal_text import UNWANTED

__all__ = ["CLEANING_VERSION", "clean", "clean_pages", "is_plain", "letters_and_digits", "printable"]

CLEANING_VERSION = 7  # raise it when any rule here changes what text or title comes out
LONGEST_WORD = 256  # what is longer is encoded data: no language and no URL that anyone reads

_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}  # those of Latin print
# Whatever `_regular` replaces or removes, and its neighbours: one look tells that a page has nothing of it, as most.
_IRREGULAR = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\xa0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff9-\uffff\U00010000-\U0010ffff]+"
)
_LINE_END = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028]")
_SPACE = re.compile(r"[\t\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_OTHER_SPACE = (
    "\t\v\f\r\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_UNWANTED = re.compile(f"[{UNWANTED}]")
_SOFT_HYPHEN = re.compile(r"\u00ad(?! *\n)")  # at a line end it still has its work to do
# Zero-width (non-)joiners spell words in Arabic and Indic scripts, and only there.
_JOINER = re.compile(r"(?<![\u0600-\u0dff])[\u200c\u200d]|[\u200c\u200d](?![\u0600-\u0dff])")
# TeX's old fonts print "é" as an accent and a letter: "Jos´e".
_ACCENT = re.compile("([´`¨ˆ˜ˇ˘˚])([A-Za-zı])")
_COMBINING = dict(zip("´`¨ˆ˜ˇ˘˚", "\u0301\u0300\u0308\u0302\u0303\u030c\u0306\u030a", strict=True))
_ENDLESS = re.compile(rf"[!-~]{{{LONGEST_WORD + 1},}}")
_LETTERS_OR_DIGITS = re.compile(r"[^\W_]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_SMALL = bytes.maketrans(ascii_uppercase.encode(), ascii_lowercase.encode())
_OTHER_ASCII = bytes(byte for byte in range(128) if not chr(byte).isalnum())


def clean(text: str) -> str:
    """One line a paragraph, paragraphs parted by an empty line, in NFC; nothing in it that only a printer needs.

    Removed: control, private-use, zero-width, direction and noncharacters, surrogates, U+FFFD, and "words" of more
    than 256 ASCII characters. Latin ligatures are spelled out; TeX's free-standing accents join their letters.

    Words that lost a ligature are restored (`jobs.parsing.ligatures`), and those that a line end breaks are joined
    (`jobs.parsing.hyphens`).
    """
    return clean_pages([text])[0]


def clean_pages(pages: Sequence[str]) -> list[str]:
    """`clean` each page, with the words of all of them to decide about ligatures and hyphens."""
    readable = [printable(page) for page in restore_words(pages)]
    vocabulary = Vocabulary(readable)
    return [_flow(page, vocabulary) for page in readable]


def is_plain(text: str) -> bool:
    """Whether all white space of `text` is line feeds and single blanks, and none of the blanks beside a line feed.

    All cleaned text is so; a part of it may start or end with a blank.
    """
    return not any(crowd in text for crowd in ("  ", " \n", "\n ", *_OTHER_SPACE))


def letters_and_digits(text: str) -> str:
    """What `text` says without case, accents' encoding, spaces and punctuation: for comparing, not for reading."""
    parts: list[str] = []
    end = 0
    for match in _NOT_ASCII.finditer(text):
        # No sign of ASCII joins what stands before it, but what follows may join it: so this much stands by itself.
        start, before = max(0, match.start() - 1), end
        end = match.end()
        part = text[start:end]
        parts += (text[before:start], _folded_mark(part) if len(part) <= 2 else _folded(part))
    ascii_and_folded = "".join([*parts, text[end:]]).encode("utf-8", "surrogatepass")
    return ascii_and_folded.translate(_SMALL, _OTHER_ASCII).decode("utf-8", "surrogatepass")


def _folded(text: str) -> str:
    return "".join(_LETTERS_OR_DIGITS.findall(unicodedata.normalize("NFKC", text).casefold()))


_folded_mark = lru_cache(maxsize=10_000)(_folded)  # most are a dash or a quotation mark


def printable(text: str) -> str:
    """`text` with nothing but characters that are to be read, on lines without blanks around them."""
    if _IRREGULAR.search(text):
        text = _regular(text)
    for ligature, letters in _LIGATURES.items():
        text = text.replace(ligature, letters)
    if any(accent in text for accent in _COMBINING):
        text = _ACCENT.sub(_accented, text)
    return _tight(unicodedata.normalize("NFC", text))


def _regular(text: str) -> str:
    """One sign for a line end, another for every blank, and nothing that is not to be seen."""
    text = _LINE_END.sub("\n", text.replace("\u2029", "\n\n"))
    text = _IRREGULAR.sub(lambda match: _UNWANTED.sub("", match.group()), text)  # it skims faster than what it leads to
    text = _SOFT_HYPHEN.sub("", text)
    if "\u200c" in text or "\u200d" in text:
        text = _JOINER.sub("", text)
    return _SPACE.sub(" ", text)


def _accented(match: re.Match[str]) -> str:
    accent, letter = match.groups()
    letter = unicodedata.normalize("NFC", letter.replace("ı", "i") + _COMBINING[accent])
    return letter if len(letter) == 1 else match.group()


def _tight(text: str) -> str:
    return _single_blanks(text).replace(" \n", "\n").replace("\n ", "\n")


def _single_blanks(text: str) -> str:
    return re.sub(" {2,}", " ", text) if "  " in text else text


def _flow(text: str, vocabulary: Vocabulary) -> str:
    """From lines to paragraphs."""
    text = join_broken_words(text, vocabulary)
    if "\u00ad" in text:
        text = _tight(text.replace("\u00ad", ""))
    return _without_endless(_paragraphs(text))


def _paragraphs(text: str) -> str:
    """Each on one line. One that ends in mid-sentence goes on in the next, if that has a small letter first."""
    parts: list[str] = []
    for lines in text.split("\n\n"):
        if paragraph := lines.strip().replace("\n", " "):
            if parts:
                parts.append(" " if "a" <= paragraph[0] <= "z" and _runs_on(parts[-1][-1]) else "\n\n")
            parts.append(paragraph)
    return "".join(parts)


def _runs_on(last: str) -> bool:
    return last in ",;" or _is_letter(last)


def _is_letter(sign: str) -> bool:
    return sign.isalnum() and not sign.isdecimal()


def _without_endless(text: str) -> str:
    # One word that is too long fills at least one of these steps.
    step = (LONGEST_WORD + 2) // 2
    if all(" " in text[start : start + step] for start in range(0, len(text) - step + 1, step)):
        return text
    paragraphs = (_single_blanks(_ENDLESS.sub("", paragraph).strip()) for paragraph in text.split("\n\n"))
    return "\n\n".join(filter(None, paragraphs))
