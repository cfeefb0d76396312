"""The `critique` job: a model rates each pair by a rubric, if ``curate.critic`` is on.

It is a job of its own because each record may have one paid request. It follows the checks that cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import AnswerSchema, Call, Request
from jobs.config import Curate
from jobs.curation.probe import lost
from jobs.curation.rules import Fault, passing
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.prompts import filled, own_prompt
from jobs.records import Critique, Pair

__all__ = ["Rubric", "critique", "critique_request", "read_rubric", "refused"]

_RATINGS = ("grounded", "standalone", "useful")


class Rubric(BaseModel):
    """The critic's answer; ratings are from 1 to 5."""

    feedback: str = ""
    grounded: int = Field(ge=1, le=5)
    standalone: int = Field(ge=1, le=5)
    useful: int = Field(ge=1, le=5)


def critique(*, settings: Curate, max_tokens: int, own: str = "", fingerprint: Mapping[str, Any], slots: int) -> Job:
    """The job that rates every pair that passed the earlier checks. `own` is a user's prompt in place of ours."""

    async def process(value: tuple[Pair, str], call: Call) -> Sequence[Record]:
        pair, text = value
        request = critique_request(pair, text, max_tokens=max_tokens, own=own)
        rubric = await ask_until_valid(call, request, read_rubric)
        ratings = {name: getattr(rubric, name) for name in _RATINGS}
        id_ = make_id("critique", pair.id)
        return [Critique(id=id_, parent=pair.id, feedback=rubric.feedback, **ratings)]

    def expand(shard: ShardRows) -> Iterator[Item]:
        texts = {chunk.id: chunk.text for chunk in shard["chunks"]}
        probes = {row.parent: row for row in shard.get("probes", [])}
        for pair in passing(shard["pairs"], settings):
            if not settings.embeds or (pair.id in probes and lost(probes[pair.id], settings) is None):
                both = [texts[id_] for id_ in (pair.chunk_id, pair.second_chunk_id) if id_ in texts]
                yield Item(id=pair.id, value=(pair, "\n\n".join(both)))

    return Job(
        name="critique",
        reads=("pairs", "chunks", *(["probes"] if settings.embeds else [])),
        writes="critiques",
        row=Critique,
        expand=expand,
        process=process,
        fingerprint=fingerprint,
        slots=slots,
    )


def critique_request(pair: Pair, text: str, *, max_tokens: int, own: str = "") -> Request:
    """A request to the judge with the rubric, the chunk's `text` and the pair, in our words or a user's `own`."""
    rating = {"type": "integer", "minimum": 1, "maximum": 5}
    properties = {"feedback": {"type": "string"}, **dict.fromkeys(_RATINGS, rating)}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    prompt = filled(own or own_prompt("critique"), text=text, question=pair.question, answer=pair.answer)
    return chat(
        "judge",
        [{"role": "user", "content": prompt}],
        max_tokens=max_tokens,
        schema=AnswerSchema(name="rubric", schema=schema),
    )


def read_rubric(answer: str) -> Rubric:
    """The JSON object in `answer`, which may have other text around it; raises `Malformed` when none fits."""
    try:
        return Rubric.model_validate_json(answer[answer.find("{") : answer.rfind("}") + 1])
    except ValidationError as error:
        raise Malformed(f"It is no JSON object with {', '.join(_RATINGS)} from 1 to 5.") from error


def refused(found: Critique, settings: Curate) -> Fault | None:
    """The lowest rating if it is below the passing one; else None."""
    rating, name = min((getattr(found, name), name) for name in _RATINGS)
    if rating >= settings.critic_passing:
        return None
    return Fault(reason="critic", detail=f"{name} {rating} of 5: {found.feedback}")
