"""Quirks of embeddings: other forms of the same numbers, and invalid numbers."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from jobs.simulator.quirks.quirk import Alter, Quirk, changed, first_of

__all__ = ["VECTORS"]


def _each(change: Callable[[list[float]], Any]) -> Alter:
    """Change the form of each vector."""
    return changed(
        "embeddings",
        lambda body: {**body, "data": [{**item, "embedding": change(item["embedding"])} for item in body["data"]]},
    )


def _items(change: Callable[[list[dict[str, Any]]], Any]) -> Alter:
    return changed("embeddings", lambda body: {**body, "data": change(body["data"])})


def _first_number(value: Any) -> Alter:
    return first_of(_each(lambda vector: [value, *vector[1:]]))


VECTORS: dict[str, Quirk] = {
    "vector-base64": Quirk(
        "vLLM, Infinity, LiteLLM",
        "openai/openai-python#1490",
        "vectors come as base64 of 32-bit floats",
        alters=_each(lambda vector: base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()),
    ),
    "vector-nested": Quirk(
        "llama-cpp-python",
        "abetlen/llama-cpp-python#1588",
        "each vector stands in a list of its own",
        alters=_each(lambda vector: [vector]),
    ),
    "vector-dict": Quirk(
        "Cohere",
        "",
        "each vector stands in a dict by its type",
        alters=_each(lambda vector: {"float": vector}),
    ),
    "vector-bare": Quirk(
        "TEI, Ollama",
        "langroid/langroid#922",
        "the answer is a bare list of items",
        alters=changed("embeddings", lambda body: body["data"]),
    ),
    "vectors-under-embeddings": Quirk(
        "Ollama, Cohere",
        "",
        "the vectors stand as bare lists under embeddings",
        alters=changed("embeddings", lambda body: {"embeddings": [item["embedding"] for item in body["data"]]}),
    ),
    "index-omitted": Quirk(
        "Gemini",
        "spring-projects/spring-ai#7019",
        "the first item has no index, the others have theirs",
        alters=_items(lambda data: [{"embedding": data[0]["embedding"]}, *data[1:]]),
    ),
    "index-text": Quirk(
        "gateways",
        "BaseIntelligence/bounty-challenge#16010",
        "indices are text, and the order is reversed",
        alters=_items(lambda data: [{**item, "index": str(item["index"])} for item in reversed(data)]),
    ),
    "index-null": Quirk(
        "gateways",
        "doobidoo/mcp-memory-service#612",
        "indices are null",
        alters=_items(lambda data: [{**item, "index": None} for item in data]),
    ),
    "index-repeated": Quirk(
        "gateways",
        "rps321321/obsidian-mcp-pro#204",
        "every index is 0",
        alters=_items(lambda data: [{**item, "index": 0} for item in data]),
    ),
    "vector-null": Quirk(
        "Ollama, llama.cpp",
        "ollama/ollama#13599",
        "the first vector of each text holds a null, which stands for NaN",
        alters=_first_number(None),
    ),
    "vector-zero": Quirk(
        "Ollama",
        "ollama/ollama#12611",
        "the first vector of each text is all zeros",
        alters=first_of(_each(lambda vector: [0.0] * len(vector))),
    ),
    "vector-text": Quirk(
        "gateways",
        "",
        "instead of the first vector of each text a sentence comes back",
        alters=first_of(_each(lambda _: "the model is loading")),
    ),
    "vector-huge": Quirk(
        "llama.cpp",
        "",
        "the first vector of each text holds a number beyond 32-bit floats",
        alters=_first_number(1e300),
    ),
    "vectors-missing": Quirk(
        "gateways",
        "agno-agi/agno#10128",
        "the first answer for each text lacks its last vector",
        alters=first_of(_items(lambda data: data[:-1])),
    ),
    "vector-null-always": Quirk(
        "Ollama, llama.cpp",
        "jundot/omlx#3545",
        "every vector holds a null",
        alters=_each(lambda vector: [None, *vector[1:]]),
    ),
}
