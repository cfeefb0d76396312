"""Chat requests and the reading of their answers: pure functions, and the one loop that asks again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from engine.errors import GristmillError, Permanent
from engine.requests import AnswerSchema, Call, Reply, Request
from jobs.run.outside_text import without_secrets

__all__ = ["REPAIRS", "Malformed", "ask_until_valid", "chat", "text"]

T = TypeVar("T")
Message = Mapping[str, str]

REPAIRS = 2
"""How often a model is shown what is wrong with its answer and asked again."""


class Malformed(GristmillError):
    """An answer that is not what was asked for. The message tells the model what is wrong with it."""


def chat(
    to: str, messages: Sequence[Message], *, max_tokens: int, schema: AnswerSchema | None = None, alternatives: int = 0
) -> Request:
    """A chat request to the model of role `to`; see `Request` for `schema` and `alternatives`."""
    return Request(
        to=to,
        messages=list(messages),
        characters=sum(len(message["content"]) for message in messages),
        max_output_tokens=max_tokens,
        schema=schema,
        alternatives=alternatives,
    )


def text(reply: Reply) -> str:
    """The answer's text, stripped. The provider has made sure that there is one."""
    return reply.text.strip()


async def ask_until_valid(
    call: Call, request: Request, parse: Callable[[str], T], *, repairs: int = REPAIRS, kind: str = "malformed"
) -> T:
    """Send `request` until `parse` accepts the answer's text, showing each fault to the model.

    `parse` raises `Malformed` for what it cannot accept. Raises `Permanent` of this `kind` after the repairs.
    """
    answer = text(await call(request))
    for _ in range(repairs):
        try:
            return parse(answer)
        except Malformed as fault:
            answer = text(await call(_shown(request, answer, fault)))
    try:
        return parse(answer)
    except Malformed as fault:
        message = f"after {repairs} repair{'s' * (repairs != 1)}: {fault}"
        raise Permanent(message, kind=kind).replying(without_secrets(answer)) from fault


def _shown(request: Request, answer: str, fault: Malformed) -> Request:
    messages = [
        *request.messages,
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": f"That answer cannot be used: {fault} Answer again, in the form that was asked for.",
        },
    ]
    return msgspec.structs.replace(
        request, messages=messages, characters=sum(len(message["content"]) for message in messages)
    )
