"""A quirk is a function that refuses a request, or one that changes the body of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

__all__ = [
    "Alter",
    "BatchWays",
    "Body",
    "Exchange",
    "Quirk",
    "Refusal",
    "Refuse",
    "changed",
    "choice_changed",
    "first_of",
    "text_changed",
]

Body = dict[str, Any]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A paid request: its ``route`` ("chat" or "embeddings"), its JSON ``body``, and what came with it.

    ``number`` counts the paid requests of that route from 0, ``attempt`` those with the same prompt.
    """

    route: str
    body: Body
    number: int
    attempt: int
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def prompt(self) -> str:
        """All messages, or all texts, one per line."""
        if self.route == "chat":
            return "\n".join(str(message.get("content")) for message in self.body.get("messages", []))
        texts = self.body.get("input", [])
        return texts if isinstance(texts, str) else "\n".join(map(str, texts))


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal; a ``body`` of text is an HTML page, any other is JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}

    @property
    def content_type(self) -> str:
        return "text/html" if isinstance(self.body, str) else "application/json"

    @property
    def data(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)


Refuse = Callable[[Exchange], Refusal | None]
Alter = Callable[[Body, Exchange], Any]


def _as_it_is(method: str, path: str) -> str:
    return path


def _unchanged(kind: str, body: Any) -> Any:
    return body


@dataclass(frozen=True, slots=True)
class BatchWays:
    """How a server does batches otherwise.

    ``settings`` are fields of the simulation. ``path`` gets a method and what follows /v1/, and returns the path that it
    stands for, "" for none. ``shows`` gets "created", "batch", "list" or "line" (of a file of results) and its JSON, and
    returns what is sent instead; None leaves a line out.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    path: Callable[[str, str], str] = _as_it_is
    shows: Callable[[str, Any], Any] = _unchanged


@dataclass(frozen=True, slots=True)
class Quirk:
    """``server`` is the family that it was seen at, ``report`` a public report as OWNER/NAME#NUMBER, ``about`` one line.

    ``refuses`` is asked before the request is answered; ``alters`` gets the decoded body of a good answer and returns
    what is sent instead, and ``headers`` are sent with it. ``batches`` is what it does with batches. ``report`` is "" where no public one is known.
    """

    server: str
    report: str
    about: str
    refuses: Refuse | None = None
    alters: Alter | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    batches: BatchWays | None = None


def text_changed(change: Callable[[str], str]) -> Alter:
    """Change the text of a chat answer."""
    return choice_changed(lambda text: {"message": {"role": "assistant", "content": change(text)}})


def choice_changed(change: Callable[[str], Body]) -> Alter:
    """Update the first choice of a chat answer with the keys that `change` returns for its text."""

    def alter(body: Body, exchange: Exchange) -> Any:
        if exchange.route != "chat":
            return body
        first = body["choices"][0]
        return {**body, "choices": [{**first, **change(first["message"]["content"] or "")}]}

    return alter


def changed(route: str, change: Callable[[Body], Any]) -> Alter:
    """Change the whole body of an answer on `route`."""
    return lambda body, exchange: change(body) if exchange.route == route else body


def first_of(alter: Alter) -> Alter:
    """`alter` only the first answer to each prompt."""
    return lambda body, exchange: alter(body, exchange) if exchange.attempt == 0 else body
