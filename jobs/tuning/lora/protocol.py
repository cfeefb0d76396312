"""What the parent sends to the child, and what the child tells it: JSON, a line each.

The parent writes a `Training`, then at most the line "stop". The child writes `News`; `Finished`, `Stopped` or `Failed`
is the last.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "STOP",
    "Failed",
    "Finished",
    "LoraSettings",
    "News",
    "Precision",
    "Started",
    "Stepped",
    "Stopped",
    "Training",
]

STOP = b"stop\n"

Precision = Literal["auto", "float32", "bfloat16"]


class LoraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that, beside the data and the base, decides which weights come out."""

    epochs: int
    batch_size: int
    learning_rate: float
    rank: int
    alpha: float
    dropout: float
    max_length: int
    precision: Precision
    seed: int


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """`base` is a GGUF file or a Hugging Face folder; `train` and `val` are chat JSONL; `folder` gets what is made.

    The loss on validation data is taken, and a checkpoint written, every so many steps and at the end.
    """

    base: str
    train: str
    val: str
    folder: str
    losses: str
    settings: LoraSettings
    checkpoint_every: int
    validate_every: int


class _News(msgspec.Struct, frozen=True, kw_only=True, tag_field="news", omit_defaults=True):
    pass


class Started(_News, frozen=True, kw_only=True, tag="started"):
    """All is loaded. Of `steps`, `step` were done before; `shortened` and `left_out` count training examples."""

    step: int
    steps: int
    examples: int
    shortened: int
    left_out: int
    parameters: int
    device: str
    precision: str


class Stepped(_News, frozen=True, kw_only=True, tag="stepped"):
    """A step is done; `left_s` is what the others will take."""

    step: int
    steps: int
    train: float
    val: float | None
    left_s: float


class Finished(_News, frozen=True, kw_only=True, tag="finished"):
    """`adapter` or `model` is the GGUF file to serve, by its name in the training's folder: the other is None."""

    steps: int
    adapter: str | None = None
    model: str | None = None


class Stopped(_News, frozen=True, kw_only=True, tag="stopped"):
    """As was asked, after a checkpoint."""


class Failed(_News, frozen=True, kw_only=True, tag="failed"):
    """It cannot be done: `reason` is one line; `bad_input` says that the user must mend something."""

    reason: str
    bad_input: bool = False


News = Started | Stepped | Finished | Stopped | Failed
