"""The messages between parent and child: one JSON object per line.

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
    """All settings that, with the data and the base, determine the resulting weights."""

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
    """`base` is a GGUF file or a Hugging Face folder; `train` and `val` are chat JSONL; `folder` is for the results.

    `validate_every` and `checkpoint_every` are in steps; both also happen at the end.
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
    """Model and data are loaded. `step` of `steps` are done already; `shortened` and `left_out` count training
    examples."""

    step: int
    steps: int
    examples: int
    shortened: int
    left_out: int
    parameters: int
    device: str
    precision: str


class Stepped(_News, frozen=True, kw_only=True, tag="stepped"):
    """A step is done; `left_s` is the estimated time of the remaining steps, in seconds."""

    step: int
    steps: int
    train: float
    val: float | None
    left_s: float


class Finished(_News, frozen=True, kw_only=True, tag="finished"):
    """`adapter` or `model` is the name of the GGUF file to serve, in the training's folder; the other is None."""

    steps: int
    adapter: str | None = None
    model: str | None = None


class Stopped(_News, frozen=True, kw_only=True, tag="stopped"):
    """The child stopped on request, after a checkpoint."""


class Failed(_News, frozen=True, kw_only=True, tag="failed"):
    """The training failed: `reason` is one line; `bad_input` says that the user must correct something."""

    reason: str
    bad_input: bool = False


News = Started | Stepped | Finished | Stopped | Failed
