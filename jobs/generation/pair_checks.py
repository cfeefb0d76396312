"""Which pairs of the recipe "grounded" are kept: checks of a question, its answer and its evidence against the chunk.

None of them costs a request. They compare words, so they look for English where they look for certain words; those that
need question, answer and chunk in one language can be left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.generation.words import GENERIC, LINK, NAME, terms

__all__ = ["COPIED", "STATED", "GroundedPair", "Standard", "duplicates", "fault", "joined", "support", "uncited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedPair:
    """One pair. ``evidence`` is in the chunk, word for word except for white space.

    ``type`` is "" where none is known. ``second_evidence`` is in the second chunk of a question over two, else "".
    """

    evidence: str
    question: str
    answer: str
    type: str = ""
    second_evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """How strictly an answer is held to its source.

    It has fewer than ``longest`` characters. It adds at least ``added`` words to the question, and ``share_added`` of its own;
    ``share`` of them stand in the evidence, or anywhere in the chunk if ``whole_chunk``. If ``strict``, a third of the
    question's words stand in evidence or title, and neither text has symbols, points back or is about a source. Without
    ``same_words`` both may be in another language, and only numbers are looked for.
    """

    share: float
    longest: int
    whole_chunk: bool
    added: int = 1
    share_added: float = 0.0
    strict: bool = False
    same_words: bool = True


STATED = Standard(share=0.7, longest=400, whole_chunk=False, added=2, share_added=0.28, strict=True)
"""For small models, which are asked about a sentence and may answer with another one."""

COPIED = Standard(share=0.5, longest=1200, whole_chunk=True)
"""For models that copy their evidence themselves and answer in their own words."""


def fault(
    pair: GroundedPair, texts: Sequence[str], kept: Sequence[GroundedPair], standard: Standard, *, title: str = ""
) -> str:
    """The first check that `pair` fails, or "". `texts` are those of its chunk, or of both, with single spaces."""
    asked, answered = terms(pair.question), terms(pair.answer)
    evidence = f"{pair.evidence} {pair.second_evidence}".strip()
    source = " ".join(texts) if standard.whole_chunk else evidence
    in_words = standard.same_words
    checks = {
        "not_evidence": not _stands(pair.evidence, texts[:1]) or not _stands(pair.second_evidence, texts[1:]),
        "not_a_question": not _is_question(pair.question, in_words),
        "points_at_text": bool(_AT_TEXT.search(f"{pair.question} {pair.answer}")),
        "vague": in_words and _is_vague(pair.question, asked, terms(source), named=bool(title)),
        "unfinished": not pair.answer or len(pair.answer) >= standard.longest,
        "symbols": standard.strict and bool(_SYMBOL.search(pair.question)),
        "says_nothing": in_words and not _adds(answered - asked - GENERIC, answered - GENERIC, standard),
        "points_back": standard.strict and bool(_POINTS_BACK.search(f"{pair.question} {pair.answer}")),
        "about_a_source": standard.strict and bool(_ABOUT_A_SOURCE.search(f"{pair.question}\n{pair.answer}")),
        "off_evidence": in_words and standard.strict and not _asks(asked, f"{evidence} {title}"),
        "not_grounded": (in_words and support(pair, source) < standard.share)
        or not _numbers(pair.answer, in_words) <= _numbers(source, in_words),
        "out_of_context": bool(LINK.match(pair.answer)) or "•" in pair.answer,
        "no_number": pair.type == "number" and not re.search(r"\d", pair.answer),
        "one_chunk": len(texts) > 1 and in_words and not _needs_both(pair),
        "duplicate": duplicates(pair, kept),
    }
    return next((reason for reason, failed in checks.items() if failed), "")


def uncited(text: str) -> str:
    """`text` on one line, without the citations that a model copies along: "(Gao et al., 2023)", "[7, 9]"."""
    return joined(_CITATION.sub("", text))


def joined(text: str) -> str:
    """`text` on one line, with single spaces."""
    return " ".join(text.split())


def _stands(evidence: str, texts: Sequence[str]) -> bool:
    """Whether `evidence` is in the text, if there is one to be in."""
    return all(evidence and evidence in text for text in texts)


def _is_question(question: str, in_words: bool) -> bool:
    long_enough = 3 <= len(question.split()) <= 45 if in_words else 6 <= len(question) <= 400
    return question.endswith(_QUESTION_MARKS) and long_enough


def _is_vague(question: str, asked: frozenset[str], known: frozenset[str], *, named: bool) -> bool:
    """Whether it could be asked of any paper, or shares no word with this one. One that is `named` can have few words."""
    least = 1 if named or NAME.search(question) else 2
    return question.startswith("What are some ") or len(asked - GENERIC) < least or not asked & known


def _needs_both(pair: GroundedPair) -> bool:
    """Whether each chunk's evidence has a word of the answer that the other's lacks."""
    answered, first, second = terms(pair.answer), terms(pair.evidence), terms(pair.second_evidence)
    return bool(answered & first - second) and bool(answered & second - first)


def _adds(new: frozenset[str], said: frozenset[str], standard: Standard) -> bool:
    """Whether enough of what is `said` is `new`; a number is enough by itself."""
    enough = len(new) >= standard.added and len(new) >= standard.share_added * len(said)
    return enough or any(word.isdigit() for word in new)


def _asks(asked: frozenset[str], source: str) -> bool:
    """Whether a third of the question's words, but for those that name nothing, are in `source`."""
    words = asked - GENERIC
    return 3 * len(words & terms(source)) >= len(words)


def duplicates(pair: GroundedPair, others: Sequence[GroundedPair]) -> bool:
    """Whether one of `others` has its evidence, or asks the same in other order."""
    asked = terms(pair.question)
    return any(
        (other.evidence, other.second_evidence) == (pair.evidence, pair.second_evidence)
        or (terms(other.question) == asked if asked else other.question == pair.question)
        for other in others
    )


def support(pair: GroundedPair, text: str) -> float:
    """The share of the answer's new terms, not in the question, that `text` contains."""
    added = terms(pair.answer) - terms(pair.question)
    return len(added & terms(text)) / len(added) if added else 1.0


def _numbers(text: str, as_written: bool) -> frozenset[str]:
    """The numbers in `text`; those of another language may have a comma where these have a point."""
    found = re.findall(r"\d+(?:[.,]\d+)*", text)
    return frozenset(found if as_written else (number.replace(",", ".") for number in found))


_QUESTION_MARKS = ("?", "？", "؟")
_CITATION = re.compile(r"\s*(\([^()]*\b(19|20)\d\d[a-z]?\)|\[\d[\d\s,–-]*\])")
# What stands in a sentence before it.
_POINTS_BACK = re.compile(
    r"\b(these|those(?! (who|that|of|in|with|which)\b)|this|the (same|former|latter|above)|such (a|an))\b",
    re.IGNORECASE,
)
# Where something was published or can be had; a name that was taken out with its citation leaves "by,".
_ABOUT_A_SOURCE = re.compile(
    r"^(what|which) (study|work|paper|author)\w* |^where (can|could|may) .*\b(found|obtained|accessed|downloaded|available)"
    r"|\b(available|upon) (on|upon)? ?request\b|\b(by|of|in|from|to) ?,|\bby ?\.",
    re.IGNORECASE,
)
# A symbol, which means nothing without the text that defines it.
_SYMBOL = re.compile(r"[=<>≤≥∈×¯ˆ˜^\U0001d400-\U0001d7ff]|(?<![\w'’-])[b-zB-HJ-Z\u0370-\u03ff](?![\w'’.+#-])")
_AT_TEXT = re.compile(
    r"\b(excerpt|passage|(the|this|given|provided) (text|paper|study|article|sentence|evidence|context|document|"
    r"authors?|statement|work)|authors|mentioned|described here|our|we|figure|table|section|et al)\b",
    re.IGNORECASE,
)
