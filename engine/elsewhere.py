"""Shards that are worked on elsewhere: what the runner needs to know of other processes.

`engine.cluster` has them. A run without any has one process, and none of its code is imported.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from engine.shards import Seal

if TYPE_CHECKING:
    from engine.shard_run import JobContext

__all__ = ["Elsewhere", "OpenShard"]


class OpenShard(Protocol):
    """A shard that is worked on, in this process or in another one; `engine.shard_run.ShardRun` says what all of it means."""

    @property
    def begun(self) -> int: ...

    @property
    def deferred(self) -> int: ...

    async def feed(self, tasks: asyncio.TaskGroup) -> None: ...

    async def finish(self, previous_sealed: asyncio.Future[bool]) -> Seal | None: ...

    async def close(self) -> None: ...


class Elsewhere(Protocol):
    """Other processes that work on shards. ``size`` is their number."""

    size: int

    def takes(self, job: str) -> bool:
        """Whether the shards of this job are opened here."""

    async def open(self, context: JobContext, index: int, begun: int | None) -> OpenShard:
        """Find a process that has room for one more shard of this job; it may be this one. Raises `Stopped` once the run is
        stopping."""
