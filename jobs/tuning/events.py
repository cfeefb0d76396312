"""Events of fine-tuning: at a provider, and on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.events import Event

__all__ = ["FinetuneProgress", "TrainingStep"]


class FinetuneProgress(Event, frozen=True, kw_only=True):
    """A job at the provider has a new status or a new message; `data` holds its metrics, if there are any."""

    job_id: str
    status: str
    message: str = ""
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


class TrainingStep(Event, frozen=True, kw_only=True):
    """A training step on this machine is done; `left_s` is the estimated time of the remaining steps, in seconds."""

    step: int
    steps: int
    train: float
    val: float | None
    left_s: float
