"""Embedding requests and the reading of their vectors: pure functions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.requests import Reply, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BAD_VECTOR", "cosine", "embedding", "pack", "unpack", "unusable", "vectors"]

BAD_VECTOR = "bad_vector"
"""The kind of failure of a vector that cannot be used."""


def embedding(texts: Sequence[str], *, query: bool = False) -> Request:
    """A request for the vectors of `texts`; ``query`` where they are questions to search with."""
    return Request(to="embedding", texts=list(texts), query=query, characters=sum(len(text) for text in texts))


def vectors(reply: Reply) -> Sequence[Sequence[float]]:
    """The vectors, in the order of the texts."""
    return reply.vectors


def pack(vector: Sequence[float]) -> str:
    """A vector as base64 of little-endian float32."""
    import numpy as np

    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")


def unpack(text: str) -> NDArray[np.float32]:
    """What `pack` made, as an array of shape (dimension,)."""
    import numpy as np

    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def unusable(packed: str) -> str:
    """Why what `pack` made cannot be searched or compared; "" for a vector that can."""
    import numpy as np

    try:
        vector = unpack(packed)
    except ValueError:
        return "the vector cannot be read"
    if not np.isfinite(vector).all():
        return "the vector holds a number that is not finite"
    return "" if vector.any() else "the vector is empty or all zeros"


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of the same length, from -1 to 1; 0 when one is all zeros."""
    return min(1.0, max(-1.0, float(_unit(a) @ _unit(b))))


def _unit(values: Sequence[float]) -> NDArray[np.float64]:
    """The vector at length 1, or all zeros. Its largest part is made 1 first: squares of tiny parts would vanish."""
    import numpy as np

    vector: NDArray[np.float64] = np.array(values, dtype=np.float64)
    largest = np.abs(vector).max(initial=0.0)
    if not largest:
        return vector
    vector /= largest
    vector /= np.linalg.norm(vector)
    return vector
