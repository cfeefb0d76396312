"""Words that a line end breaks: joined, with their own hyphen where they have one."""

from __future__ import annotations

import re

from jobs.parsing.vocabulary import BREAK, Vocabulary, is_common

__all__ = ["join_broken_words"]

_WORD_BREAK = re.compile(rf"{BREAK}(?=\w)")
_WORD = re.compile(r"[^\W\d_]+")
# Before these a hyphen stays unless the joined word is known; after a prefix it goes, although many prefixes are words.
_OWN_HYPHEN = frozenset("ill non quasi self well".split())
_PREFIXES = frozenset(
    "anti auto bio cardio counter cyto electro extra hydro hyper hypo immuno infra inter intra iso macro mega meta micro mini "
    "mis mono multi nano neo neuro out over para per photo phyto poly post pre pro pseudo psycho radio semi sub super supra "
    "sur tele thermo trans tri ultra under uni vice".split()
)
# The ends of words that are tokens, or words, as well.
_SUFFIXES = frozenset(
    "able ably ally ance ates ated cial city ding ence ents ests fold hood ible ibly ical ings ions ised ises ishes isms "
    "istic ists ities ively ization ized izes king less ling ment ments ming ness ning nesses ping ring ship ships sing sion "
    "sions sity tial ting tion tional tions ular ures ward wards wise".split()
)


def join_broken_words(text: str, vocabulary: Vocabulary) -> str:
    """`text` without the line ends inside of words.

    A word's hyphen goes, unless it is its own: where the next line starts with a capital or a digit ("Gauss-Newton"),
    where one half has another hyphen ("state-of-the-art"), and where the joined word is unknown, but the hyphenated one
    stands in the document, or both halves are words ("stress-related").
    """
    return _WORD_BREAK.sub(lambda match: _joint(match, vocabulary), text)


def _joint(match: re.Match[str], vocabulary: Vocabulary) -> str:
    """What stands for a line end inside a word: nothing, or its own hyphen. Before a new paragraph, what stood."""
    if match.group().count("\n") > 1 and not match.string[match.end()].islower():
        return match.group()
    if "\u00ad" in match.group():
        return ""
    before = match.string[max(0, match.start() - 100) : match.start()].split()[-1]
    after = match.string[match.end() : match.end() + 100].split()[0]
    if not after[0].islower() or "-" in before or "-" in after:
        return "-"
    tail = _WORD.match(after)
    assert tail is not None
    return "-" if _has_hyphen(_WORD.findall(before)[-1].lower(), tail.group(), vocabulary) else ""


def _has_hyphen(head: str, tail: str, vocabulary: Vocabulary) -> bool:
    if head + tail in vocabulary:
        return False
    if f"{head}-{tail}" in vocabulary:
        return True
    own = head in vocabulary and tail in vocabulary
    if own and len(head) > 3 and len(tail) > 3 and head not in _PREFIXES:
        return True
    if is_common(head + tail) or len(tail) < 4 or tail in _SUFFIXES:
        return False
    return head in _OWN_HYPHEN or (
        (own or _are_words(head, tail, vocabulary)) and len(head) > 2 and head not in _PREFIXES
    )


def _are_words(head: str, tail: str, vocabulary: Vocabulary) -> bool:
    return is_common(head) and is_common(tail) and (head in vocabulary or tail in vocabulary)
