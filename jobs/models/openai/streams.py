"""A streamed chat answer: when its first token came, and the body that the plain answer would have had.

The format is OpenAI's (server-sent events, one JSON chunk each, then ``[DONE]``).
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from engine.errors import Transient

__all__ = ["FirstToken", "assembled"]

_TEXTS = ("content", "reasoning_content", "reasoning")
_decoder = msgspec.json.Decoder()


class FirstToken:
    """Is given what has come of a stream so far, and notes when the first text was there; thoughts are text too.

    ``after_s`` is in seconds from its making, by the loop's clock; None until then.
    """

    def __init__(self) -> None:
        self._clock = get_running_loop().time
        self._made = self._clock()
        self._read = 0
        self.after_s: float | None = None

    def __call__(self, data: bytearray) -> None:
        if self.after_s is not None:
            return
        if _holds_text(bytes(data[self._read :])):
            self.after_s = self._clock() - self._made
        self._read = data.rfind(b"\n") + 1


def assembled(data: bytes) -> dict[str, Any]:
    """The body that the stream `data` tells. Raises `Transient` where it has no end, or tells of an error."""
    texts: list[str] = []
    finish_reason = usage = None
    for chunk in _chunks(data):
        if "error" in chunk:
            raise Transient("the server broke off with an error in mid-answer", kind="server_error")
        usage = _usage(chunk) or usage
        for choice in (chunk.get("choices") or ())[:1]:
            texts.append((choice.get("delta") or {}).get("content") or "")
            finish_reason = choice.get("finish_reason") or finish_reason
    if finish_reason is None:
        raise Transient("the answer broke off", kind="torn_body")
    message = {"role": "assistant", "content": "".join(texts)}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], "usage": usage}


def _usage(chunk: Mapping[str, Any]) -> Any:
    """The usage that an event tells: mostly the last one; Groq has a place of its own for it."""
    groq = chunk.get("x_groq")
    return chunk.get("usage") or (groq.get("usage") if isinstance(groq, Mapping) else None)


def _chunks(data: bytes) -> Iterator[Mapping[str, Any]]:
    """The JSON of each event that is there whole. Comments, by which servers keep a connection open, are no events."""
    *lines, _ = data.split(b"\n")
    for line in lines:
        text = line[5:].strip() if line.startswith(b"data:") else b""
        if text == b"[DONE]":
            return
        if text:
            yield _decoder.decode(text)


def _holds_text(data: bytes) -> bool:
    try:
        deltas = [choice["delta"] for chunk in _chunks(data) for choice in chunk["choices"]]
        return any(delta.get(name) for delta in deltas for name in _TEXTS)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):  # `assembled` will say so
        return False
