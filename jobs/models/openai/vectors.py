"""Vectors: what servers send for them, as lists of numbers, one for each text, in order.

Numbers are taken as they come, as base64 of little-endian float32, one list deeper, or in a dict. What is not plainly a
vector is none: a null among its numbers would be stored as "not a number", and an all-zero vector is like nothing.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BadVectors", "Lengths", "read_vectors"]


_LARGEST = 3.4e38
"""What float32 holds, in which vectors are stored."""


class BadVectors(ValueError):
    """What came back is no vector for each text; the message says what it is."""


class Lengths:
    """The length of the vectors of one endpoint: the one that most answers have, so a single odd one decides nothing."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._length = 0

    def check(self, length: int) -> None:
        """Raise `BadVectors` where `length` is not that of most."""
        self._seen[length] += 1
        if length == self._length or self._seen[length] > self._seen[self._length]:
            self._length = length
            return
        raise BadVectors(f"a vector came back with {length} numbers, where the others have {self._length}")


def read_vectors(body: Any, texts: int) -> list[Sequence[float]]:
    """The vectors of a response to a request with `texts` texts. Raises `BadVectors` for anything else."""
    items = _items(body)
    if len(items) != texts:
        raise BadVectors(f"{len(items)} vectors came back for {texts} texts")
    found = [_vector(item) for item in _ordered(items)]
    if len({len(vector) for vector in found}) > 1:
        raise BadVectors("the vectors of one answer have different lengths")
    return found


def _items(body: Any) -> Sequence[Any]:
    """OpenAI's ``data``; ``embeddings`` as Ollama and Cohere say; or a bare list."""
    if isinstance(body, Mapping):
        for name in ("data", "embeddings", "embedding"):
            if name in body:
                body = body[name]
                break
    if isinstance(body, Mapping) and isinstance(body.get("float"), list):
        body = body["float"]
    if not isinstance(body, list):
        raise BadVectors("the answer holds no list of vectors")
    return [body] if body and _is_number(body[0]) else body


def _ordered(items: Sequence[Any]) -> Sequence[Any]:
    """By their indices where each has one of its own; else in the order in which they came."""
    indices = [_index(item) for item in items]
    if sorted(index for index in indices if index is not None) == list(range(len(items))):
        return [item for _, item in sorted(zip(indices, items, strict=True), key=lambda pair: pair[0] or 0)]
    return items


def _index(item: Any) -> int | None:
    """A whole number, which may be written as text; None for anything else."""
    index = item.get("index") if isinstance(item, Mapping) else None
    if isinstance(index, str) and index.strip().isascii() and index.strip().isdigit():
        return int(index)
    if isinstance(index, float) and index == int(index):
        return int(index)
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _vector(item: Any) -> Sequence[float]:
    value = item
    for name in ("embedding", "values", "float", "vector", "base64"):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
    if isinstance(value, str):
        value = _unpacked(value)
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not value:
        raise BadVectors("a vector came back that is no list of numbers")
    if not set(map(type, value)) <= {float, int}:
        raise BadVectors("a vector came back that holds something else than numbers")
    if max(map(abs, value)) > _LARGEST or not all(map(math.isfinite, value)):
        raise BadVectors("a vector came back with a number that is not finite")
    if not any(value):
        raise BadVectors("a vector came back that is all zeros")
    return value


def _unpacked(text: str) -> list[float]:
    import numpy as np

    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadVectors("a vector came back as text that is no base64") from error
    if not data or len(data) % 4:
        raise BadVectors("a vector came back as base64 that holds no float32 numbers")
    return [float(number) for number in np.frombuffer(data, dtype="<f4")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
