"""The recipe "grounded" for any endpoint: the model copies the evidence of each pair from the chunk.

Its reply is a list of pairs in JSON, by a schema where the endpoint takes one. The schema is the same for every chunk,
so a server prepares it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.requests import AnswerSchema, Request
from jobs.generation.evidence import has_prose
from jobs.generation.grounded import Reading, Task, about, entries, explained, object_schema, source
from jobs.generation.manner import NO_MANNER, Manner
from jobs.generation.pair_checks import COPIED, GroundedPair, fault, joined, uncited
from jobs.generation.question_types import MULTI_STEP, TYPES
from jobs.generation.quotes import find_passage
from jobs.models.chat import Malformed, chat
from jobs.models.prompts import filled, own_prompt
from jobs.records import Chunk

__all__ = ["Copied"]

_TOKENS_PER_PAIR = 400  # three times what sensible text needs
_TOKENS_OF_SECOND = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """``max_tokens`` bounds a reply, if it is enough for the pairs that are asked for. ``own`` is a user's prompt in
    place of ours."""

    max_tokens: int = 1024
    own: str = ""
    manner: Manner = NO_MANNER

    def can_ask(self, chunk: Chunk) -> bool:
        """See `Form`."""
        return has_prose(chunk.text)

    def request(self, task: Task) -> Request | None:
        """See `Form`."""
        if not self.can_ask(task.chunk):
            return None
        needed = _TOKENS_PER_PAIR * task.count + _TOKENS_OF_SECOND * task.types[: task.count].count(MULTI_STEP)
        return chat(
            "generator",
            self._messages(task),
            max_tokens=max(self.max_tokens, needed),
            schema=AnswerSchema(name="pairs", schema=_pairs_schema(task)),
        )

    def read(self, reply: str, task: Task) -> Reading:
        """See `Form`."""
        kept: list[GroundedPair] = []
        rejected: Counter[str] = Counter()
        left = Counter(task.types)
        for given in _pairs(reply)[: task.count]:
            pair, reason = given, "malformed"
            if given is not None:
                pair, reason = self._checked(given, task, [*task.besides, *kept])
                if task.types and not left[given.type]:
                    reason = "other_type"
            if pair and not reason:
                kept.append(pair)
                left[pair.type] -= 1
            else:
                rejected[reason] += 1
        return Reading(pairs=tuple(kept), rejected=dict(rejected))

    def _checked(self, given: GroundedPair, task: Task, others: Sequence[GroundedPair]) -> tuple[GroundedPair, str]:
        """`given` with its evidence as it stands in the chunks, and the first check that it fails, or ""."""
        chunks = task.chunks if given.type == MULTI_STEP else task.chunks[:1]
        pair = _found(given, chunks)
        texts = [joined(chunk.text) for chunk in chunks]
        return pair, fault(pair, texts, others, replace(COPIED, same_words=self.manner.shares_words(texts[0])))

    def _messages(self, task: Task) -> list[Mapping[str, str]]:
        """What all requests share stands first, where the server's prefix cache finds it."""
        asked_already = _asked_already(task.besides)
        if self.own:
            types = explained(task.types or tuple(TYPES))
            user = filled(self.own, text=task.text, count=task.count, types=types, **about(task.chunk))
            return self.manner.before([{"role": "user", "content": user + asked_already}])
        user = filled(
            own_prompt("grounded_user"),
            title=source(task.chunk),
            text=task.text,
            count=task.count,
            questions="question" if task.count == 1 else "questions",
        )
        if task.types:
            user += f"\nThey are of these types, in this order: {', '.join(task.types[: task.count])}."
            if task.second is not None:
                user += f"\nThe types mean: {explained(task.types[: task.count])}."
        system = filled(own_prompt("grounded_system"), types=explained(tuple(TYPES)))
        return self.manner.before(
            [{"role": "system", "content": system}, {"role": "user", "content": user + asked_already}]
        )


def _asked_already(besides: Sequence[GroundedPair]) -> str:
    listed = "\n".join(f"- {pair.question}" for pair in besides)
    return f"\nThese have been asked already; ask about something else:\n{listed}" if listed else ""


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
    return object_schema({"pairs": {"type": "array", "items": object_schema(pair)}})


def _found(pair: GroundedPair, chunks: Sequence[Chunk]) -> GroundedPair:
    """`pair` with its evidence as its chunk, or each of both, has it; "" where the chunk does not have it."""
    first, second = pair.evidence, pair.second_evidence
    if len(chunks) > 1 and first and not find_passage(first, chunks[0].text):
        first, second = second, first  # the model gave them in the other order
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
    pairs = [_pair(entry) for entry in entries(reply)]
    if pairs and not any(pairs):
        raise Malformed("None of its pairs has evidence, question and answer.")
    return pairs


def _pair(value: Any) -> GroundedPair | None:
    try:
        fields = {str(key).casefold(): text for key, text in value.items()}
        pair = GroundedPair(
            evidence=joined(fields["evidence"]),
            question=uncited(fields["question"]),
            answer=uncited(fields["answer"]),
            type=_type(fields.get("type")),
            second_evidence=joined(fields.get("second_evidence") or ""),
        )
        f"{pair.evidence}{pair.second_evidence}{pair.question}{pair.answer}".encode()  # JSON can spell what UTF-8 cannot
    except (AttributeError, KeyError, TypeError, UnicodeEncodeError):
        return None
    return pair


def _type(value: Any) -> str:
    name = str(value).strip().casefold()
    return name if name in (*TYPES, MULTI_STEP) else ""
