"""A place: one worker, as the head sees it. And how workers are started and ended, wherever they are.

Workers on this machine are processes (`engine.cluster.subprocesses`). Another engine needs a `Places` and a function
that carries bytes to a worker and its answer back (`engine.cluster.wire`).
"""

from __future__ import annotations

from typing import Protocol

from engine.cluster.messages import Decision, Orders, Report, Task, Worked
from engine.shards import Seal

__all__ = ["BEAT_S", "LOST_S", "QUIET_S", "Lost", "Place", "Places"]

BEAT_S = 1.0
"""How often head and worker hear of each other, in seconds."""

QUIET_S = 10.0
"""Seconds without orders after which a worker starts no new request."""

LOST_S = 20.0
"""Seconds without orders after which a worker ends itself, and without a report after which the head takes it for lost."""


class Lost(Exception):
    """The worker is gone, or cannot be reached. What it had in flight is done elsewhere."""


class Place(Protocol):
    """One worker. Each method may be called while others are under way; each raises `Lost` when the worker is.

    They raise `Fatal` for what ends the run, and `Stopped` once the worker stops.
    """

    async def work(self, task: Task) -> Worked:
        """Work on a shard; returns when every input of it is committed."""

    async def decide(self, decision: Decision) -> Seal:
        """Write down the seal of a shard that was worked on; the head carries it out."""

    async def beat(self, orders: Orders) -> Report:
        """Give orders, hear what has happened. A second call while one waits ends the first."""


class Places(Protocol):
    """Starts and ends workers; ``name`` is new for each."""

    async def check(self) -> None:
        """Raise `BadInput` where it is plain at once that no worker can be started."""

    async def start(self, name: str) -> Place:
        """Start a worker that is ready for work. Raises `Lost` if it ends before, and `Fatal` where another try would fail too."""

    async def end(self, name: str) -> str:
        """End a worker that was started, or is starting; returns how it ended, in words. It sends no request any more when
        this returns, where that can be known."""

    async def close(self) -> None:
        """All workers have ended: leave nothing behind."""
