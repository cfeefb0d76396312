"""The recipe "grounded": one request for a chunk's questions, each with its evidence, its type and its answer.

The evidence is copied from the chunk, so a pair can be checked: it is kept only if its evidence stands in the chunk and
it passes the checks of `jobs.generation.pair_checks`; the others are counted by reason. There are two forms:

- For any endpoint the model copies its evidence itself. Its reply is a list of pairs in JSON, by a schema where the
  endpoint takes one. The schema is the same for every chunk, so a server prepares it once.
- A small model chooses its evidence: the schema allows only those sentences of the chunk that are worth asking about,
  and deals them out, so that no two pairs use the same one. It bounds lengths too, so the reply always ends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.requests import AnswerSchema, Request
from jobs.generation.evidence import has_prose, worth_asking
from jobs.generation.manner import NO_MANNER, Manner
from jobs.generation.pair_checks import CHOSEN, COPIED, GroundedPair, fault, joined, supported, uncited
from jobs.generation.quotes import find_passage
from jobs.models.chat import Malformed, chat
from jobs.models.prompts import filled, own_prompt
from jobs.records import Chunk

__all__ = ["TYPES", "Grounded", "Reading", "about"]

TYPES: Mapping[str, str] = {
    "fact": "what something is, does, has or shows",
    "how": "in what way something works or is done",
    "why": "the reason or the cause of something",
    "compare": "in what two things differ or agree",
    "number": "an amount, with its unit",
}
"""The types of question about one chunk, each with what is asked for."""

_TOKENS_PER_PAIR = 400  # three times what sensible text needs within the lengths of the schema
_QUESTION_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The pairs that passed, and the number of others by the first check that they failed."""

    pairs: tuple[GroundedPair, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """Writes the requests of the recipe and reads their replies.

    ``chooses`` is the form for small models. ``max_tokens`` bounds a reply of the other form, if it is enough for the
    pairs that are asked for. ``own`` is a user's prompt in place of ours.
    """

    chooses: bool = False
    max_tokens: int = 1024
    own: str = ""
    manner: Manner = NO_MANNER

    def request(self, chunk: Chunk, count: int, besides: Sequence[GroundedPair] = ()) -> Request | None:
        """The request for `count` pairs about `chunk` that are none of `besides`; None if it has nothing to ask about.

        That is a list of references, a table, a page of formulas. A small model is asked for no more pairs than there
        are sentences.
        """
        return (self._choosing if self.chooses else self._copying)(chunk, count, besides)

    def read(self, reply: str, chunk: Chunk, count: int, besides: Sequence[GroundedPair] = ()) -> Reading:
        """At most `count` pairs of the `reply` that pass every check against `chunk` and repeat none of `besides`.

        Raises `Malformed` if the reply is no JSON with pairs.
        """
        text = joined(chunk.text)
        standard = replace(CHOSEN if self.chooses else COPIED, same_words=self.manner.shares_words(text))
        kept: list[GroundedPair] = []
        rejected: Counter[str] = Counter()
        for given in _pairs(reply)[:count]:
            pair = given and (supported(given, chunk.text) if self.chooses else _found(given, chunk.text))
            reason = fault(pair, [text], [*besides, *kept], standard) if pair else "malformed"
            if pair and not reason:
                kept.append(pair)
            else:
                rejected[reason] += 1
        return Reading(pairs=tuple(kept), rejected=dict(rejected))

    def _copying(self, chunk: Chunk, count: int, besides: Sequence[GroundedPair]) -> Request | None:
        if not has_prose(chunk.text):
            return None
        return chat(
            "generator",
            self._messages("grounded", chunk, count, besides),
            max_tokens=max(self.max_tokens, _TOKENS_PER_PAIR * count),
            schema=AnswerSchema(name="pairs", schema=_PAIRS),
        )

    def _choosing(self, chunk: Chunk, count: int, besides: Sequence[GroundedPair]) -> Request | None:
        used = {pair.evidence for pair in besides}
        choices = _dealt([sentence for sentence in worth_asking(chunk.text) if sentence not in used], count)
        if not choices:
            return None
        return chat(
            "generator",
            self._messages("evidence", chunk, len(choices)),
            max_tokens=_TOKENS_PER_PAIR * len(choices),
            schema=AnswerSchema(name="pairs", schema=_strictly(_numbered(choices))),
        )

    def _messages(
        self, name: str, chunk: Chunk, count: int, besides: Sequence[GroundedPair] = ()
    ) -> list[Mapping[str, str]]:
        """What all requests share stands first, where the server's prefix cache finds it."""
        types = "; ".join(f'"{type_}" ({meaning})' for type_, meaning in TYPES.items())
        if self.own:
            user = filled(self.own, text=chunk.text, count=count, types=types, **about(chunk))
            return self.manner.before([{"role": "user", "content": user + _asked_already(besides)}])
        user = filled(
            own_prompt(f"{name}_user"),
            title=_source(chunk),
            text=chunk.text,
            count=count,
            questions="question" if count == 1 else "questions",
        )
        return self.manner.before(
            [
                {"role": "system", "content": filled(own_prompt(f"{name}_system"), types=types)},
                {"role": "user", "content": user + _asked_already(besides)},
            ]
        )


def _asked_already(besides: Sequence[GroundedPair]) -> str:
    listed = "\n".join(f"- {pair.question}" for pair in besides)
    return f"\nThese have been asked already; ask about something else:\n{listed}" if listed else ""


def about(chunk: Chunk) -> dict[str, str]:
    """What a user's own prompt may say of a chunk beside its text."""
    return {"title": chunk.title or "unknown", "section": " > ".join(chunk.section)}


def _source(chunk: Chunk) -> str:
    """The title of the paper, and the headings above the chunk."""
    return "\nSection: ".join([chunk.title or "unknown", *([" > ".join(chunk.section)] if chunk.section else [])])


def _strictly(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object of exactly these properties; a grammar keeps their order."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _numbered(choices: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        f"pair_{number}": _strictly(
            {
                "evidence": {"type": "string", "enum": list(choice)},
                "question": {"type": "string", "maxLength": _QUESTION_CHARACTERS},
                "answer": {"type": "string", "maxLength": CHOSEN.longest},
            }
        )
        for number, choice in enumerate(choices, 1)
    }


_PAIR = _strictly(
    {
        "evidence": {"type": "string"},
        "type": {"type": "string", "enum": list(TYPES)},
        "question": {"type": "string"},
        "answer": {"type": "string"},
    }
)
_PAIRS = _strictly({"pairs": {"type": "array", "items": _PAIR}})


def _dealt(found: Sequence[str], count: int) -> list[Sequence[str]]:
    """The sentences in `count` groups of equal length, in order, so that the pairs are spread over the chunk."""
    count = min(count, len(found))
    return [found[len(found) * index // count : len(found) * (index + 1) // count] for index in range(count)]


def _found(pair: GroundedPair, text: str) -> GroundedPair:
    """`pair` with its evidence as the chunk has it; "" where the chunk does not have it."""
    place = find_passage(pair.evidence, text)
    return replace(pair, evidence=joined(text[slice(*place)]) if place else "")


def _pairs(reply: str) -> list[GroundedPair | None]:
    """Each pair of the reply, None for an entry that is no pair. Raises `Malformed` if it has nothing but such."""
    pairs = [_pair(entry) for entry in _entries(reply)]
    if pairs and not any(pairs):
        raise Malformed("None of its pairs has evidence, question and answer.")
    return pairs


def _entries(reply: str) -> list[Any]:
    """The pairs in a reply of JSON, in whatever object or list it puts them, with or without words around it."""
    starts = [place for place in (reply.find("{"), reply.find("[")) if place >= 0]
    end = max(reply.rfind("}"), reply.rfind("]"))
    try:
        value = json.loads(reply[min(starts, default=0) : end + 1])
    except (RecursionError, ValueError) as error:
        raise Malformed("It is no JSON object with pairs.") from error
    if isinstance(value, dict) and isinstance(value.get("pairs"), (list, dict)):
        value = value["pairs"]
    if isinstance(value, dict):
        value = [value] if "question" in value else list(value.values())
    return value if isinstance(value, list) else []


def _pair(value: Any) -> GroundedPair | None:
    try:
        told = {str(key).casefold(): text for key, text in value.items()}
        pair = GroundedPair(
            evidence=joined(told["evidence"]),
            question=uncited(told["question"]),
            answer=uncited(told["answer"]),
            type=_type(told.get("type")),
        )
        f"{pair.evidence}{pair.question}{pair.answer}".encode()  # JSON can spell what UTF-8 cannot
    except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
        return None
    return pair


def _type(told: Any) -> str:
    name = str(told).strip().casefold()
    return name if name in TYPES else ""
