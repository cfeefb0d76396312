"""Bodies: a request as the JSON that a server takes which speaks OpenAI's API, in its dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.requests import AnswerSchema, Request
from jobs.config import Model
from jobs.models.openai.dialect import Dialect

__all__ = ["Bodies"]


class Bodies:
    """Writes the bodies for `model`, which the server knows as `name`, in its `dialect` as it is at each request."""

    def __init__(self, name: str, model: Model, dialect: Dialect, *, stream: bool) -> None:
        self._name = name
        self._model = model
        self._dialect = dialect
        self._stream = stream

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON of `request`, before it is encoded. What ``extra_body`` says stands above all else."""
        body = self._embedding(request) if request.texts else self._chat(request)
        return {**body, **self._model.extra_body} if self._model.extra_body else body

    def _embedding(self, request: Request) -> dict[str, Any]:
        model = self._model
        prefix = model.query_prefix if request.query else model.passage_prefix
        body: dict[str, Any] = {"input": [prefix + text for text in request.texts] if prefix else request.texts}
        body["model"] = self._name
        if self._dialect.encoding != "none":
            body["encoding_format"] = self._dialect.encoding
        if model.dimensions is not None:
            body["dimensions"] = model.dimensions
        if kind := (model.query_input_type if request.query else model.passage_input_type):
            body["input_type"] = kind
        return body

    def _chat(self, request: Request) -> dict[str, Any]:
        dialect = self._dialect
        messages: Sequence[Mapping[str, str]] = request.messages
        if request.schema is not None and dialect.form != "json_schema":
            messages = _with_form(messages, request.schema)
        body: dict[str, Any] = {
            "messages": messages if dialect.system else _folded(messages),
            "model": self._name,
        }
        if dialect.temperature and self._model.temperature != "default":
            body["temperature"] = self._model.temperature
        if request.schema is not None and dialect.form != "none":
            body["response_format"] = _response_format(request.schema, dialect.form)
        if request.alternatives:
            most = dialect.alternatives or request.alternatives
            body |= {"logprobs": True, "top_logprobs": min(request.alternatives, most)}
        if request.max_output_tokens and dialect.length != "none":
            body[dialect.length] = request.max_output_tokens
        if self._stream:
            body["stream"] = True
            if dialect.stream_options:
                body["stream_options"] = {"include_usage": True}
        return body


def _response_format(schema: AnswerSchema, form: str) -> dict[str, Any]:
    if form == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": schema.name, "strict": True, "schema": schema.schema}}


def _with_form(messages: Sequence[Mapping[str, str]], schema: AnswerSchema) -> list[Mapping[str, str]]:
    """The form in words, behind the last message: the server is not asked to hold the answer to it."""
    text = msgspec.json.encode(schema.schema).decode()
    form = f"Answer with one JSON object that fits this JSON Schema, and with nothing else:\n{text}"
    *before, last = messages
    return [*before, {**last, "content": f"{last['content']}\n\n{form}"}]


def _folded(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Without a system role: its words stand before those of the first user."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    others = [message for message in messages if message["role"] != "system"]
    if not system or not others:
        return [*others] or [{"role": "user", "content": system}]
    first, *rest = others
    return [{**first, "content": f"{system}\n\n{first['content']}"}, *rest]
