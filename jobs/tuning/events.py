"""What happens while a model is tuned, as events: at a provider, and on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.events import Event

__all__ = ["FinetuneProgress", "TrainingStep"]


class FinetuneProgress(Event, frozen=True, kw_only=True):
    """News of a job at the provider: its status, or one of its own messages with, at times, metrics in `data`."""

    job_id: str
    status: str
    message: str = ""
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


class TrainingStep(Event, frozen=True, kw_only=True):
    """A step of a training on this machine is done; `left_s` is what the others will take."""

    step: int
    steps: int
    train: float
    val: float | None
    left_s: float
