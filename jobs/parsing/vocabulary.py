"""The words that a document uses and those that are common anywhere: what decides how a damaged word is restored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from jobs.parsing.tokens import is_one_token

__all__ = ["BREAK", "Vocabulary", "is_common"]

# Each break starts with the hyphen, which is rare, and looks back for the letter: most of a page is only skimmed.
BREAK = r"[-\u2010\u00ad](?<=[^\W\d_].)(?:(?<!\u00ad)\u00ad)?\n+"
_SECOND_HALF = re.compile(rf"{BREAK}\w+")
_COMPOUND = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)+")
_WORD = re.compile(r"[^\W\d_]+")


def is_common(word: str) -> bool:
    """Whether `word`, in lower case, is among the frequent words of English and a few other languages.

    The tokenizer serves as the list: a word that was frequent in the text it was trained on has a token of its own.
    """
    return is_one_token(f" {word}")


class Vocabulary:
    """The words of a document's pages, in lower case, gathered at the first question."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = pages

    def __contains__(self, word: str) -> bool:
        """Whether the document has `word`, perhaps with hyphens in it, where no line end breaks it."""
        return word in self._own

    def knows(self, word: str) -> bool:
        """Whether the document has `word`, or it is common."""
        return is_common(word) or word in self._own

    @cached_property
    def _own(self) -> frozenset[str]:
        distinct: set[str] = set()
        for page in self._pages:
            distinct.update(_without_broken_words(page).split())
        lower = " ".join(distinct).lower()
        hyphened = " ".join(word for word in lower.split() if "-" in word or "\u2010" in word)
        compounds = (word.replace("\u2010", "-") for word in _COMPOUND.findall(hyphened))
        return frozenset(_WORD.findall(lower)).union(compounds)


def _without_broken_words(text: str) -> str:
    kept = []
    end = 0
    for match in _SECOND_HALF.finditer(text):
        start = match.start()
        while start > end and text[start - 1].isalnum() and not text[start - 1].isdecimal():
            start -= 1
        if start < match.start():  # else its first half is the second of the word before
            kept.append(text[end:start])
            end = match.end()
    return " ".join([*kept, text[end:]])
