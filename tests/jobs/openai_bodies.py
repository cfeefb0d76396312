"""Bodies as a server that speaks OpenAI's API answers, for tests of the provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["chat_body", "embeddings_body"]


def chat_body(
    text: str | None, *, finish_reason: str = "stop", prompt_tokens: int = 10, completion_tokens: int = 5
) -> dict[str, Any]:
    """A chat completion with one choice that says `text`."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-canned",
        "object": "chat.completion",
        "created": 0,
        "model": "canned",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": _usage(prompt_tokens, completion_tokens),
    }


def embeddings_body(vectors: Sequence[Sequence[float]], *, prompt_tokens: int = 10) -> dict[str, Any]:
    """An embeddings response: one vector a text, in order."""
    data = [{"object": "embedding", "index": index, "embedding": list(each)} for index, each in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "canned", "usage": _usage(prompt_tokens, 0)}


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
