"""What models are called in fingerprints and tables."""

from __future__ import annotations

from pathlib import Path

from jobs.config import Model

__all__ = ["EMBEDDED_EMBEDDING", "is_small", "model_name"]

_SMALL_BYTES = 4 << 30
"""A local file below this size, about 7 billion parameters in 4 bits, is a small model."""

EMBEDDED_EMBEDDING = "all-MiniLM-L6-v2"
"""The name of the embeddings behind model = "local"."""


def model_name(model: Model, embedded: str = "local") -> str:
    """What a model is called in fingerprints and tables; `embedded` is the name of the weights behind "local".

    A local file is called by its name, because the same file may move.
    """
    if model.model.startswith("local:"):
        return Path(model.model.removeprefix("local:")).name
    return embedded if model.model == "local" else model.model


def is_small(model: Model) -> bool:
    """Whether `model` is a small local one: the embedded one, or a file of a few gigabytes; blocks for a moment."""
    if not model.local:
        return False
    path = Path(model.model.removeprefix("local:"))
    return model.model == "local" or not path.exists() or _bytes(path) < _SMALL_BYTES


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()) if file.is_file())
