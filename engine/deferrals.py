"""The third outcome of a call: not answered and not failed, but on its way with a batch.

A record need not wait for its answer: its call raises `Deferred`, it stays undone, and its slot is free. A shard with
such records is closed, and opened again when all that it asks has come back. Then each record that is undone is
processed again, and its call finds the answer. So a record that is deferred costs no memory.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from engine.errors import GristmillError

__all__ = ["Deferrals", "Deferred", "NothingDeferred"]


class Deferred(GristmillError):
    """Not an error: the answer comes later, and this record is to be processed again then."""


class Deferrals(Protocol):
    """Knows what is on its way for each shard; ``group`` names a shard of a job, as the requests of its records do.

    Methods raise `Fatal` where the disk fails.
    """

    active: bool
    """Whether anything may be deferred at all."""

    def waits(self, group: str) -> bool:
        """Whether all that this shard lacks is on its way from an earlier process, so that it need not be opened yet."""

    async def open(self, group: str, committed: Collection[str]) -> None:
        """The shard is open, and the inputs `committed` need no answers any more; its records are processed next."""

    async def close(self, group: str, deferred: int) -> None:
        """The shard is closed; `deferred` of its records wait for a batch."""

    async def settled(self, group: str) -> None:
        """Wait until nothing of this shard is on its way. Raises `Stopped` once the run is stopping."""

    def release(self, group: str) -> None:
        """The shard is sealed: its answers are needed no more."""

    def begin_work(self) -> None:
        """A shard is open, or a step runs: more requests may come without any answer from a batch."""

    def end_work(self) -> None:
        """What `begin_work` said has ended."""


class NothingDeferred:
    """The `Deferrals` of a run whose calls all wait for their answers."""

    active = False

    def waits(self, group: str) -> bool:
        return False

    async def open(self, group: str, committed: Collection[str]) -> None:
        pass

    async def close(self, group: str, deferred: int) -> None:
        pass

    async def settled(self, group: str) -> None:
        pass

    def release(self, group: str) -> None:
        pass

    def begin_work(self) -> None:
        pass

    def end_work(self) -> None:
        pass
