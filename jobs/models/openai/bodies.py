"""Bodies: a request as the JSON that OpenAI's API takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.requests import Request
from jobs.models.openai.streams import STREAMED

__all__ = ["Bodies"]


class Bodies:
    """Writes the bodies for one model, which the server knows as `name`.

    ``temperature`` is None where it is left out; ``length`` is the name of the parameter that bounds an answer.
    """

    def __init__(self, name: str, *, temperature: float | None, length: str, stream: bool) -> None:
        self._embedding: Mapping[str, Any] = {"model": name}
        self._chat = {"model": name} if temperature is None else {"model": name, "temperature": temperature}
        self._length = length
        self._stream = stream

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON of `request`, before it is encoded."""
        if request.texts:
            return {"input": request.texts, **self._embedding}
        body = {"messages": request.messages, **self._chat}
        if request.schema is not None:
            schema = {"name": request.schema.name, "strict": True, "schema": request.schema.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.alternatives:
            body |= {"logprobs": True, "top_logprobs": request.alternatives}
        if request.max_output_tokens:
            body[self._length] = request.max_output_tokens
        if self._stream:
            body |= STREAMED
        return body
