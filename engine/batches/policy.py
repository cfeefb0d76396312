"""How large batches are, how often a row is sent in one, and how long all that waits takes."""

from __future__ import annotations

from dataclasses import dataclass

from engine.prices import Price

__all__ = ["BatchPolicy", "BatchTimes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """The batches of one role.

    A record's request stands in ``rounds`` batches at most, where its row fails or expires, and is sent by itself then; 0
    sends no further batches. ``rows`` and ``bytes`` bound one batch. ``enqueued_tokens`` is how many tokens of prompts may
    wait at the provider; None is found out. ``price`` is that of a row; None has no price.
    """

    window: str = "24h"
    window_s: float = 86_400.0
    rounds: int = 2
    rows: int = 50_000
    bytes: int = 190_000_000
    enqueued_tokens: int | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTimes:
    """Waits, in seconds.

    A batch is sent when its outbox has had no newcomer for ``idle_s``; ``quiet_s`` where nothing of the run works any
    more. Its state is asked for every ``poll_s``. A list of batches that lacks one counts ``settle_s`` after its creation.
    """

    idle_s: float = 60.0
    quiet_s: float = 1.0
    poll_s: float = 60.0
    settle_s: float = 180.0
