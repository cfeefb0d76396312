"""What models are called in fingerprints and tables."""

from __future__ import annotations

from pathlib import Path

from jobs.config import Model

__all__ = ["EMBEDDED_EMBEDDING", "model_name"]

EMBEDDED_EMBEDDING = "all-MiniLM-L6-v2"
"""The name of the embeddings behind model = "local"."""


def model_name(model: Model, embedded: str = "local") -> str:
    """What a model is called in fingerprints and tables; `embedded` is the name of the weights behind "local".

    A local file is called by its name, because the same file may move.
    """
    if model.model.startswith("local:"):
        return Path(model.model.removeprefix("local:")).name
    return embedded if model.model == "local" else model.model
