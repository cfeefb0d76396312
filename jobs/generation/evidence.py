"""Which sentences of a chunk a question can be asked about: prose that can be understood alone."""

from __future__ import annotations

import re
from collections.abc import Collection

from jobs.generation.words import LINK, NAME, subject_terms, terms

__all__ = ["best_sentences", "has_prose", "sentences", "worth_asking"]


def worth_asking(text: str) -> list[str]:
    """The sentences of `text` that can be understood alone: prose that does not point elsewhere."""
    found = sentences(text)
    return [] if _is_references(found) else list(dict.fromkeys(filter(_stands_alone, found)))


def best_sentences(text: str, title: str, count: int, *, besides: Collection[str] = ()) -> list[str]:
    """The `count` sentences of `text`, none of `besides`, that are the best to ask about, in their order."""
    found = [sentence for sentence in worth_asking(text) if sentence not in besides]
    ranked = sorted(range(len(found)), key=lambda place: (-_worth(found[place], title), place))
    return [found[place] for place in sorted(ranked[:count])]


def _worth(sentence: str, title: str) -> float:
    """How much there is to ask: what the title speaks of, names, a number, a reason or a comparison; points for each."""
    said = subject_terms(sentence)
    return (
        2 * min(2, len(said & terms(title)))
        + min(3, len(set(NAME.findall(sentence))))
        + min(3, len(said) / 6)
        + bool(re.search(r"\d", sentence))
        + bool(_REASON.search(sentence))
        - 2 * bool(_POINTS_BACK.search(sentence))
        - bool(_WE.search(sentence))
        - bool(LINK.match(sentence))
    )


def has_prose(text: str) -> bool:
    """Whether `text` has a sentence of words, in any script, and is no list of references."""
    found = sentences(text)
    return not _is_references(found) and any(map(_is_prose, found))


def _is_references(found: list[str]) -> bool:
    """Whether the sentences are those of a list of references: its few whole sentences are titles."""
    return sum(bool(_REFERENCE.search(sentence)) for sentence in found) > len(found) / 3


def _is_prose(sentence: str) -> bool:
    return len(sentence) >= 30 and _letters(sentence) >= 0.7 * len(sentence)


def _letters(sentence: str) -> int:
    return sum(character.isalpha() or character.isspace() for character in sentence)


def sentences(text: str) -> list[str]:
    """The sentences of `text`, each on one line; abbreviations and initials do not end one, empty lines do."""
    return [" ".join(piece.split()) for piece in _SENTENCE_END.split(text) if piece.strip()]


def _stands_alone(sentence: str) -> bool:
    words = sentence.split()
    return (
        8 <= len(words) <= 55
        and bool(re.match(r"[\"“]?[A-Z]", sentence))
        and sentence.endswith((".", ".”", '."'))
        and _letters(sentence) >= 0.86 * len(sentence)
        and sum(word.islower() for word in words) >= 0.55 * len(words)
        and len(re.findall(r"\b[^\W\daAI_]\b", sentence)) <= 1  # else a formula
        and not any(pattern.search(sentence) for pattern in _NOT_ALONE)
    )


_ABBREVIATIONS = ("al", "e.g", "i.e", "cf", "vs", "Fig", "Figs", "Eq", "Eqs", "Sec", "No", "Dr", "Ref", "Refs", "resp")
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)"
    + "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS)
    + r"\s+(?=[\"“‘(]?[A-Z])|\n\s*\n"
)
_ELSEWHERE = re.compile(
    r"\b(figs?|figures?|tables?|sections?|appendix|appendices|eqs?|equations?|supplementary|theorems?|lemmas?|"
    r"corollary|propositions?|algorithm \d|footnote|sects?|graphs?|panels?|plotted|above|below|aforementioned|previous section|listed|shown here|diagrams?|colou?red|captions?)\b",
    re.IGNORECASE,
)
_UNRESOLVED = re.compile(
    r"^(\w+, )?(this|these|those|that|it|they|its|their|he|she|his|her|such|here|there|both|then|also|one|another|"
    r"instead|in (these|that|contrast)|in this(?! (paper|study|work|article)\b)|for (this|these)|to this|as such|"
    r"each of (these|them)|note|notice|recall|let|left|right|all (of )?(this|these)|next|sentence|"
    r"the (first|second|third|last|former|latter|other))\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"\b(because|due to|so that|in order to|since|therefore|than|while|whereas|unlike|(increas|decreas|reduc|improv|allow|"
    r"enabl|prevent|caus|lead|outperform)\w*)\b",
    re.IGNORECASE,
)
# At the start of a sentence "it" is something of the one before.
_POINTS_BACK = re.compile(
    r"^(\S+ ){1,6}(it|they|their|its)\b|\b(this|these|those|former|latter|respectively)\b", re.IGNORECASE
)
_WE = re.compile(r"\b(we|our|us)\b", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\bdoi\b|https?:|www\.|arxiv|\bpp\.|\bvol\.|\b[Pp]roceedings of|\b[A-Z][a-z]+ [A-Z]{1,3}[,:]|[A-Z]\. ?[A-Z]\.|"
    r"[A-Z]\.,|et al\. [A-Z]|\d ?[:(] ?\d+[-–)]|(?<!, )\(?(19|20)\d\d\)?\.$|([A-Z]\w+, ){4}",
)
_FRONT_MATTER = re.compile(
    r"copyright|©|licen[cs]e|@|compet(ing|ition of) interest|conflicts? of interest|correspond|wrote the|grant|funded|"
    r"acknowledge|supported by|received|submitted",
    re.IGNORECASE,
)
_NOT_ALONE = (_ELSEWHERE, _UNRESOLVED, _REFERENCE, _FRONT_MATTER)
