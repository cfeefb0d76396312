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
from jobs.generation.question_types import MULTI_STEP, TYPES
from jobs.generation.quotes import find_passage
from jobs.models.chat import Malformed, chat
from jobs.models.prompts import filled, own_prompt
from jobs.records import Chunk

__all__ = ["Grounded", "Reading", "Task", "about"]

_TOKENS_PER_PAIR = 400  # three times what sensible text needs within the lengths of the schema
_TOKENS_OF_SECOND = 200
_QUESTION_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The pairs that passed, and the number of others by the first check that they failed."""

    pairs: tuple[GroundedPair, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one request asks for: `count` pairs about `chunk` that are none of `besides`.

    ``types`` has the type of each pair, () where the model chooses; those over two chunks have ``second``, too.
    """

    chunk: Chunk
    count: int
    types: tuple[str, ...] = ()
    second: Chunk | None = None
    besides: Sequence[GroundedPair] = ()


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

    def can_ask(self, chunk: Chunk) -> bool:
        """Whether `chunk` has something to ask about: it is no list of references, table or page of formulas."""
        return bool(worth_asking(chunk.text)) if self.chooses else has_prose(chunk.text)

    def request(self, task: Task) -> Request | None:
        """The request for the pairs of `task`; None if its chunk has nothing to ask about.

        A small model is asked for no more pairs than there are sentences.
        """
        return (self._choosing if self.chooses else self._copying)(task)

    def read(self, reply: str, task: Task) -> Reading:
        """Those of the pairs in the `reply` that were asked for and pass every check against the chunks of `task`.

        Raises `Malformed` if the reply is no JSON with pairs.
        """
        kept: list[GroundedPair] = []
        rejected: Counter[str] = Counter()
        left = Counter(task.types)
        for place, given in enumerate(_pairs(reply)[: task.count]):
            pair = given and self._typed(given, task, place)
            if pair is None:
                reason = "malformed"
            elif task.types and not left[pair.type]:
                reason = "other_type"
            else:
                pair, reason = self._checked(pair, task, [*task.besides, *kept])
            if pair and not reason:
                kept.append(pair)
                left[pair.type] -= 1
            else:
                rejected[reason] += 1
        return Reading(pairs=tuple(kept), rejected=dict(rejected))

    def _typed(self, pair: GroundedPair, task: Task, place: int) -> GroundedPair:
        """`pair` with its type: the prompt names the type of each pair to a small model."""
        type_ = task.types[place] if self.chooses and place < len(task.types) else pair.type
        two = type_ == MULTI_STEP and task.second is not None
        return replace(pair, type=type_, second_evidence=pair.second_evidence if two else "")

    def _checked(self, pair: GroundedPair, task: Task, others: Sequence[GroundedPair]) -> tuple[GroundedPair, str]:
        """`pair` with its evidence as it stands in the chunks, and the first check that it fails, or ""."""
        chunks = [task.chunk, *([task.second] if task.second and pair.type == MULTI_STEP else [])]
        if not self.chooses:
            pair = _found(pair, chunks)
        elif len(chunks) == 1:
            pair = supported(pair, task.chunk.text)
        texts = [joined(chunk.text) for chunk in chunks]
        standard = replace(CHOSEN if self.chooses else COPIED, same_words=self.manner.shares_words(texts[0]))
        return pair, fault(pair, texts, others, standard)

    def _copying(self, task: Task) -> Request | None:
        if not self.can_ask(task.chunk):
            return None
        return chat(
            "generator",
            self._messages("grounded", task, task.count),
            max_tokens=max(self.max_tokens, _tokens(task, task.count)),
            schema=AnswerSchema(name="pairs", schema=_pairs_schema(task)),
        )

    def _choosing(self, task: Task) -> Request | None:
        used = {pair.evidence for pair in task.besides}
        choices = _dealt([sentence for sentence in worth_asking(task.chunk.text) if sentence not in used], task.count)
        if not choices:
            return None
        return chat(
            "generator",
            self._messages("evidence", task, len(choices)),
            max_tokens=_tokens(task, len(choices)),
            schema=AnswerSchema(name="pairs", schema=_strictly(_numbered(choices, task))),
        )

    def _messages(self, name: str, task: Task, count: int) -> list[Mapping[str, str]]:
        """What all requests share stands first, where the server's prefix cache finds it."""
        chunk, text = task.chunk, task.chunk.text
        besides = () if self.chooses else task.besides  # a small model has no sentence of theirs to choose
        if task.second is not None:
            text = f"{text}\n\nSecond excerpt:\n{task.second.text}"
        if self.own:
            user = filled(
                self.own, text=text, count=count, types=_explained(task.types or tuple(TYPES)), **about(chunk)
            )
            return self.manner.before([{"role": "user", "content": user + _asked_already(besides)}])
        user = filled(
            own_prompt(f"{name}_user"),
            title=_source(chunk),
            text=text,
            count=count,
            questions="question" if count == 1 else "questions",
        )
        if task.types:
            user += f"\nThey are of these types, in this order: {', '.join(task.types[:count])}."
            if self.chooses or task.second is not None:
                user += f"\nThe types mean: {_explained(task.types[:count])}."
        return self.manner.before(
            [
                {"role": "system", "content": filled(own_prompt(f"{name}_system"), types=_explained(tuple(TYPES)))},
                {"role": "user", "content": user + _asked_already(besides)},
            ]
        )


def _explained(types: Sequence[str]) -> str:
    meanings = {**TYPES, MULTI_STEP: _TWO}
    return "; ".join(f'"{name}" ({meanings[name]})' for name in dict.fromkeys(types))


_TWO = (
    "what follows only from a fact of the first excerpt, given as evidence, together with a fact of the second one, "
    "given in the same way as second_evidence"
)


def _tokens(task: Task, count: int) -> int:
    return _TOKENS_PER_PAIR * count + _TOKENS_OF_SECOND * task.types[:count].count(MULTI_STEP)


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


def _numbered(choices: Sequence[Sequence[str]], task: Task) -> dict[str, Any]:
    """What a small model may write: each pair with sentences of its own to choose from."""
    seconds = worth_asking(task.second.text) if task.second is not None else []
    pairs = {}
    for number, choice in enumerate(choices):
        two = number < len(task.types) and task.types[number] == MULTI_STEP
        pairs[f"pair_{number + 1}"] = _strictly(
            {
                "evidence": {"type": "string", "enum": list(choice)},
                **({"second_evidence": {"type": "string", "enum": seconds}} if two and seconds else {}),
                "question": {"type": "string", "maxLength": _QUESTION_CHARACTERS},
                "answer": {"type": "string", "maxLength": CHOSEN.longest},
            }
        )
    return pairs


def _pairs_schema(task: Task) -> dict[str, Any]:
    """A list of pairs. It depends on the types alone, so that few schemas serve all chunks."""
    types = [name for name in (*TYPES, MULTI_STEP) if name in (task.types or TYPES)]
    pair = {
        "evidence": {"type": "string"},
        **({"second_evidence": {"type": "string"}} if MULTI_STEP in types else {}),
        "type": {"type": "string", "enum": types},
        "question": {"type": "string"},
        "answer": {"type": "string"},
    }
    return _strictly({"pairs": {"type": "array", "items": _strictly(pair)}})


def _dealt(found: Sequence[str], count: int) -> list[Sequence[str]]:
    """The sentences in `count` groups of equal length, in order, so that the pairs are spread over the chunk."""
    count = min(count, len(found))
    return [found[len(found) * index // count : len(found) * (index + 1) // count] for index in range(count)]


def _found(pair: GroundedPair, chunks: Sequence[Chunk]) -> GroundedPair:
    """`pair` with its evidence as its chunk, or each of both, has it; "" where the chunk does not have it."""
    first, second = pair.evidence, pair.second_evidence
    if len(chunks) > 1 and first and not find_passage(first, chunks[0].text):
        first, second = second, first  # told in the other order
    return replace(
        pair,
        evidence=_passage(first, chunks[0].text),
        second_evidence=_passage(second, chunks[1].text) if len(chunks) > 1 else "",
    )


def _passage(evidence: str, text: str) -> str:
    place = find_passage(evidence, text)
    return joined(text[slice(*place)]) if place else ""


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
            second_evidence=joined(told.get("second_evidence") or ""),
        )
        f"{pair.evidence}{pair.second_evidence}{pair.question}{pair.answer}".encode()  # JSON can spell what UTF-8 cannot
    except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
        return None
    return pair


def _type(told: Any) -> str:
    name = str(told).strip().casefold()
    return name if name in (*TYPES, MULTI_STEP) else ""
