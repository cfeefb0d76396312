"""What a question is about, said so that somebody who sees neither the paper nor the chunk knows it: by the paper's title.

A question of a small model often leaves out what it is about ("What was the negative control?"). Such a question is asked
of the paper by its title, which is a name that a reader and an index can find.
"""

from __future__ import annotations

import re

from jobs.generation.words import subject_terms, terms

__all__ = ["impersonal", "named", "without_paper"]


def named(question: str, title: str) -> str:
    """`question` with the `title` where it speaks of "the paper" or names nothing that the title names."""
    if not title:
        return question
    title = title.strip(" .“”")
    quoted = f"“{title.capitalize() if title.isupper() else title}”"
    for pattern, form in _FORMS:
        if found := pattern.search(question):
            said = form.format(found[1], title=quoted)
            return f"{question[: found.start()]}{said}{question[found.end() :]}"
    if _names(question, title):
        return question
    first, _, rest = question.partition(" ")
    if first.casefold() in _OPENINGS:
        return f"In {quoted}, {first[0].lower()}{first[1:]} {rest}"
    return f"{quoted}: {question}"


def without_paper(text: str) -> str:
    """`text` without the words for the paper and its authors, which `named` gives a title."""
    for pattern, _ in _FORMS:
        text = pattern.sub(" ", text)
    return _THEIRS.sub(" ", text)


def impersonal(text: str) -> str:
    """`text` with "the authors" for "we": the reader has not written the paper."""
    first, *rest = _WE.split(text)
    for word, after in zip(rest[::2], rest[1::2], strict=True):
        of_them = "their" if _NAMED_ALREADY.search(first) else "the authors’"
        said = {"we": "the authors", "us": "the authors"}.get(word.lower(), of_them)
        first += f"{said[0].upper()}{said[1:]}{after}" if word[0].isupper() else f"{said}{after}"
    return first


def _names(question: str, title: str) -> bool:
    """Whether it has the name that the paper gives to its work, or three words of the title."""
    head, colon, _ = title.partition(":")
    coined = {*_COINED.findall(title), *([head] if colon and len(head.split()) <= 2 else [])}
    return any(name in question for name in coined) or len(subject_terms(question) & terms(title)) >= 3


_COINED = re.compile(r"\b[A-Za-z]*[a-z][A-Z]\w*\b")
"""A name that was made up: "JaxNRSur", "AlphaFold"."""

_PAPER = r"(?:the|this)(?: present| current)? (?:study|paper|article)\b(?!['’])"
_FORMS = (
    (re.compile(rf"\b([Ii]n|[Bb]y|[Oo]f|[Ff]rom) (?:{_PAPER}|this work\b)"), "{0} {title}"),
    (re.compile(r"\b([Tt]he (?:authors|researchers))\b(?!['’])"), "{0} of {title}"),
    (re.compile(rf"\b({_PAPER})"), "{0} {title}"),
)
_OPENINGS = frozenset(
    "what which how why when where who whose whom does do did is are were has have had can could in for to at on by "
    "under after during with from".split()
)
_THEIRS = re.compile(r"\b[Tt]he authors['’]")
_NAMED_ALREADY = re.compile(r"\bauthors\b", re.IGNORECASE)
_WE = re.compile(r"\b([Ww]e|[Oo]ur|us)\b")
