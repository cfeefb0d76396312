"""Metrics that compare the words of a response with those of its reference answer; they cost nothing.

Exact match and token F1 are those of SQuAD's evaluation script (Rajpurkar et al., 2016), with version 2's rule for
texts without a word. ROUGE-L is the F-measure that Google's rouge-score calls ``rougeL``, without its stemmer; it knows
only ASCII letters and digits, so it does not work for other scripts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

__all__ = ["LEXICAL", "exact_match", "rouge_l", "token_f1"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_WORD = re.compile(r"[^a-z0-9]+")


def exact_match(response: str, reference: str) -> float:
    """1 where both are the same after SQuAD's normalisation (case, punctuation, articles, spaces), else 0."""
    return float(_words(response) == _words(reference))


def token_f1(response: str, reference: str) -> float:
    """The harmonic mean of precision and recall over the common words, each counted as often as both texts have it."""
    ours, theirs = _words(response), _words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    return _f_measure(sum((Counter(ours) & Counter(theirs)).values()), ours, theirs)


def rouge_l(response: str, reference: str) -> float:
    """The same over the longest common subsequence of words."""
    ours, theirs = (_NO_WORD.sub(" ", text.lower()).split() for text in (response, reference))
    return _f_measure(_longest_common(ours, theirs), ours, theirs)


LEXICAL: Mapping[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}
"""Each metric by its name in the configuration: a function of response and reference, from 0 to 1."""


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f_measure(common: int, ours: Sequence[str], theirs: Sequence[str]) -> float:
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def _longest_common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time as bits of one number (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(ours):
        places[word] = places.get(word, 0) | 1 << place
    whole = row = (1 << len(ours)) - 1
    for word in theirs:
        match = row & places.get(word, 0)
        row = (row + match | row - match) & whole
    return len(ours) - row.bit_count()
