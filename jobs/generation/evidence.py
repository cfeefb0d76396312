"""The evidence recipe: questions and answers that a small model can write and that can be checked.

For each pair the model copies a sentence, then writes a question that it answers, then the answer. A JSON schema allows
no other form, and only those sentences of the chunk that are worth asking about; each pair chooses from its own
sentences, so no two pairs use the same one. The schema bounds lengths, so the answer always ends. A pair is kept only
if it passes every check below; the others are counted by reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.requests import AnswerSchema, Request
from jobs.models.chat import chat
from jobs.models.prompts import own_prompt

__all__ = ["EvidencePair", "Reading", "evidence_request", "parse_reply", "sentences", "worth_asking"]

_QUESTION_CHARACTERS = 200
_ANSWER_CHARACTERS = 400
_TOKENS_PER_PAIR = 400  # three times what sensible text needs within these lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePair:
    """One pair. ``evidence`` is in the chunk, word for word except for white space."""

    evidence: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The pairs that passed, and the number of others by the first check that they failed."""

    pairs: tuple[EvidencePair, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)


def evidence_request(text: str, *, title: str = "", section: Sequence[str] = (), count: int = 2) -> Request | None:
    """The request for `count` pairs about a chunk's `text`, or for fewer when it has fewer sentences to ask about.

    `section` holds the headings above it, which the model sees with the title of the paper. None if the chunk has no
    such sentence: a list of references, a table, a page of formulas.
    """
    choices = _dealt(worth_asking(text), count)
    if not choices:
        return None
    source = "\nSection: ".join([title or "unknown", *([" > ".join(section)] if section else [])])
    user = own_prompt("evidence_user").format(title=source, text=text, count=len(choices))
    return chat(
        "generator",
        # What all requests share stands first, where the server's prefix cache finds it.
        [{"role": "system", "content": own_prompt("evidence_system")}, {"role": "user", "content": user}],
        max_tokens=_TOKENS_PER_PAIR * len(choices),
        schema=AnswerSchema(name="pairs", schema=_schema(choices)),
    )


def parse_reply(reply: str, text: str) -> Reading:
    """Parse the model's answer to `evidence_request`; keep the pairs that pass every check against the chunk."""
    whole = _joined(text)
    kept: list[EvidencePair] = []
    rejected: Counter[str] = Counter()
    for given in _pairs(reply):
        pair = given and _supported(given, text)
        reason = _fault(pair, whole, kept) if pair else "malformed"
        if pair and not reason:
            kept.append(pair)
        else:
            rejected[reason] += 1
    return Reading(pairs=tuple(kept), rejected=dict(rejected))


def _schema(choices: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The schema of an object of numbered pairs; the grammar keeps the order of properties: sentence, question, answer."""

    def strictly(properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    return strictly(
        {
            f"pair_{number}": strictly(
                {
                    "evidence": {"type": "string", "enum": list(choice)},
                    "question": {"type": "string", "maxLength": _QUESTION_CHARACTERS},
                    "answer": {"type": "string", "maxLength": _ANSWER_CHARACTERS},
                }
            )
            for number, choice in enumerate(choices, 1)
        }
    )


def _dealt(found: Sequence[str], count: int) -> list[Sequence[str]]:
    """The sentences in `count` groups of equal length, in order, so that the pairs are spread over the chunk."""
    count = min(count, len(found))
    return [found[len(found) * index // count : len(found) * (index + 1) // count] for index in range(count)]


def _pairs(reply: str) -> Iterator[EvidencePair | None]:
    """Each pair of the reply, None for an entry that is no pair; a reply that is no object counts as one such entry."""
    try:
        values = list(json.loads(reply).values())
    except (AttributeError, RecursionError, ValueError):
        yield None
        return
    for value in values:
        try:
            pair = EvidencePair(
                evidence=_joined(value["evidence"]),
                question=_uncited(value["question"]),
                answer=_uncited(value["answer"]),
            )
            f"{pair.evidence}{pair.question}{pair.answer}".encode()  # JSON can spell what UTF-8 cannot
            yield pair
        except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
            yield None


# --- which sentences are worth asking about


def worth_asking(text: str) -> list[str]:
    """The sentences of `text` that can be understood alone: prose that does not point elsewhere."""
    found = sentences(text)
    if sum(bool(_REFERENCE.search(sentence)) for sentence in found) > len(found) / 3:
        return []  # a list of references: its few whole sentences are titles
    return list(dict.fromkeys(filter(_stands_alone, found)))


def sentences(text: str) -> list[str]:
    """The sentences of `text`, each on one line; abbreviations and initials do not end one, empty lines do."""
    return [_joined(piece) for piece in _SENTENCE_END.split(text) if piece.strip()]


def _stands_alone(sentence: str) -> bool:
    words = sentence.split()
    letters = sum(character.isalpha() or character.isspace() for character in sentence)
    return (
        8 <= len(words) <= 55
        and bool(re.match(r"[\"“]?[A-Z]", sentence))
        and sentence.endswith((".", ".”", '."'))
        and letters >= 0.86 * len(sentence)
        and sum(word.islower() for word in words) >= 0.55 * len(words)
        and len(re.findall(r"\b[^\W\daAI_]\b", sentence)) <= 1  # else a formula
        and not any(pattern.search(sentence) for pattern in (_ELSEWHERE, _UNRESOLVED, _REFERENCE, _FRONT_MATTER))
    )


_ABBREVIATIONS = ("al", "e.g", "i.e", "cf", "vs", "Fig", "Figs", "Eq", "Eqs", "Sec", "No", "Dr", "Ref", "Refs", "resp")
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)"
    + "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS)
    + r"\s+(?=[\"“‘(]?[A-Z])|\n\s*\n"
)
_ELSEWHERE = re.compile(
    r"\b(figs?|figures?|tables?|sections?|appendix|appendices|eqs?|equations?|supplementary|theorems?|lemmas?|"
    r"corollary|propositions?|algorithm \d|footnote|above|below|aforementioned|previous section|listed|shown here|diagrams?|colou?red|captions?)\b",
    re.IGNORECASE,
)
_UNRESOLVED = re.compile(
    r"^(\w+, )?(this|these|those|that|it|they|its|their|he|she|his|her|such|here|there|both|then|thus|hence|therefore|also|"
    r"one|another|similarly|instead|in (this|these|that|contrast|addition)|for (this|these|example|instance)|to this|"
    r"as (such|a result)|each of (these|them)|note|notice|recall|let|left|right|we|our|all (of )?(this|these))\b"
    r"|\b(we|our|us) ",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"\bdoi\b|https?:|www\.|arxiv|\bpp\.|\bvol\.|\b[Pp]roceedings of|\b[A-Z][a-z]+ [A-Z]{1,3}[,:]|[A-Z]\. ?[A-Z]\.|"
    r"[A-Z]\.,|et al\. [A-Z]|\d ?[:(] ?\d+[-–)]|(?<!, )\(?(19|20)\d\d\)?\.$|([A-Z]\w+, ){4}",
)
_FRONT_MATTER = re.compile(
    r"copyright|©|licen[cs]e|@|compet(ing|ition of) interest|conflicts? of interest|correspond|wrote the|grant|funded|"
    r"acknowledge|supported by|received|submitted",
    re.IGNORECASE,
)


# --- which pairs are kept


def _fault(pair: EvidencePair, text: str, kept: Sequence[EvidencePair]) -> str:
    """The first check that `pair` fails, or "". `text` is the chunk's, with single spaces."""
    asked, answered, known = _terms(pair.question), _terms(pair.answer), _terms(pair.evidence)
    checks = {
        "not_evidence": not pair.evidence or pair.evidence not in text,
        "not_a_question": not (pair.question.endswith("?") and 3 <= len(pair.question.split()) <= 45),
        "points_at_text": bool(_AT_TEXT.search(f"{pair.question} {pair.answer}")),
        "vague": pair.question.startswith("What are some ")
        or len(asked - _GENERIC) < (1 if _NAME.search(pair.question) else 2)
        or not asked & known,
        "unfinished": not pair.answer or len(pair.answer) >= _ANSWER_CHARACTERS,
        "says_nothing": not answered - asked - _GENERIC,
        "not_grounded": _support(pair, pair.evidence) < 0.7 or not _numbers(pair.answer) <= _numbers(pair.evidence),
        "out_of_context": bool(_LINKED.search(pair.answer)),
        "duplicate": any(other.evidence == pair.evidence or _terms(other.question) == asked for other in kept),
    }
    return next((reason for reason, failed in checks.items() if failed), "")


def _supported(pair: EvidencePair, text: str) -> EvidencePair:
    """`pair` with the sentence that supports its answer best: the model may copy one and use its neighbour."""
    best = max([pair.evidence, *sentences(text)], key=lambda sentence: _support(pair, sentence))
    return replace(pair, evidence=best)


def _support(pair: EvidencePair, sentence: str) -> float:
    """The share of the answer's new terms, not in the question, that `sentence` contains."""
    added = _terms(pair.answer) - _terms(pair.question)
    return len(added & _terms(sentence)) / len(added) if added else 1.0


def _terms(text: str) -> frozenset[str]:
    """The words that carry meaning, cut to six letters so that "compute" and "computing" are one."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return frozenset(word[:6] for word in words if (len(word) > 2 or word.isdigit()) and word not in _FUNCTION_WORDS)


def _numbers(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\d+(?:[.,]\d+)*", text))


def _uncited(text: str) -> str:
    """`text` on one line, without the citations that a model copies along: "(Gao et al., 2023)", "[7, 9]"."""
    return _joined(_CITATION.sub("", text))


def _joined(text: str) -> str:
    return " ".join(text.split())


_FUNCTION_WORDS = frozenset(
    "about after all also and any are because been before being between both but can could did does each for from had "
    "has have how into its may might more most much not one only other over same should some such than that the their "
    "them then there these they this those through under use used uses using very was were what when where whether "
    "which while who whom whose why will with would you your".split()
)
# Words that name nothing by themselves, cut as `_terms` cuts.
_GENERIC = frozenset(
    word[:6]
    for word in "according achieve advantage aim answer approach author benefit compare conclusion contribution describe "
    "difference discuss example experiment finding focus following function goal idea important include main mean "
    "mention method model name new number paper performance primary problem process provide purpose question reason "
    "research result role section set significance step study system task technique term text type work".split()
)
_CITATION = re.compile(r"\s*(\([^()]*\b(19|20)\d\d[a-z]?\)|\[\d[\d\s,–-]*\])")
# A name: a word with a capital, a digit or a hyphen inside the question.
_NAME = re.compile(r"(?<=\s)\w*[A-Z]\w*|\w+-\w+|\w*\d\w*")
# An answer that hangs on the sentence before it, or was cut out of a list.
_LINKED = re.compile(
    r"^(relatedly|furthermore|moreover|however|additionally|similarly|also|thus|hence|therefore|for example|in contrast)\b"
    r"|•",
    re.IGNORECASE,
)
_AT_TEXT = re.compile(
    r"\b(excerpt|passage|(the|this|given|provided) (text|paper|study|article|sentence|evidence|context|document|"
    r"authors?|statement|work)|authors|mentioned|described here|our|we|figure|table|section|et al)\b",
    re.IGNORECASE,
)
