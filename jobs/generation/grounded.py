"""The recipe "grounded": one request for a chunk's questions, each with its evidence, its type and its answer.

A pair is kept only if its evidence stands in the chunk and it passes the checks of `jobs.generation.pair_checks`; the
others are counted by reason. There are two forms of it, which have the methods of `Form`:

- `jobs.generation.copied`, for any endpoint: the model copies its evidence from the chunk.
- `jobs.generation.stated`, for small models: the request states the sentences that are asked about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.requests import Request
from jobs.generation.pair_checks import GroundedPair
from jobs.generation.question_types import MULTI_STEP, TYPES
from jobs.models.chat import Malformed
from jobs.records import Chunk

__all__ = ["Form", "Reading", "Task", "about", "entries", "explained", "object_schema", "source"]


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

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return (self.chunk,) if self.second is None else (self.chunk, self.second)

    @property
    def text(self) -> str:
        """The excerpt that the prompt shows: the chunk, and the second one behind it."""
        return "\n\nSecond excerpt:\n".join(chunk.text for chunk in self.chunks)


class Form(Protocol):
    """A form of the recipe: it writes the request of a task and reads its reply."""

    def can_ask(self, chunk: Chunk) -> bool:
        """Whether `chunk` has something to ask about: it is no list of references, table or page of formulas."""
        ...

    def request(self, task: Task) -> Request | None:
        """The request for the pairs of `task`; None if its chunk has nothing to ask about."""
        ...

    def read(self, reply: str, task: Task) -> Reading:
        """Those of the pairs in the `reply` that were asked for and pass every check against the chunks of `task`.

        Raises `Malformed` if the reply is no JSON with pairs.
        """
        ...


def explained(types: Sequence[str]) -> str:
    """The names of `types`, each once, with what they mean."""
    meanings = {**TYPES, MULTI_STEP: _TWO}
    return "; ".join(f'"{name}" ({meanings[name]})' for name in dict.fromkeys(types))


_TWO = (
    "what follows only from a fact of the first excerpt, given as evidence, together with a fact of the second one, "
    "given in the same way as second_evidence"
)


def about(chunk: Chunk) -> dict[str, str]:
    """What a user's own prompt may say of a chunk beside its text."""
    return {"title": chunk.title or "unknown", "section": " > ".join(chunk.section)}


def source(chunk: Chunk) -> str:
    """The title of the paper, and the headings above the chunk."""
    return "\nSection: ".join([chunk.title or "unknown", *([" > ".join(chunk.section)] if chunk.section else [])])


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object of exactly these properties; a grammar keeps their order."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def entries(reply: str) -> list[Any]:
    """The pairs in a reply of JSON, in whatever object or list it puts them, with or without words around it.

    Raises `Malformed` if there is no JSON.
    """
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
