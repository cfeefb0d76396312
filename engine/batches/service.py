"""The seam to a provider that answers requests in batches: one model's files and batches at one account.

Nothing here knows what the JSON looks like: a provider writes the rows of a file, and reads the lines of the results.
Every method sends at most once: the caller journals what it is about to do, and decides whether to do it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from engine.errors import GristmillError, Transient
from engine.requests import Reply, Request, Usage

__all__ = ["BatchService", "BatchState", "FileVanished", "QueueFull", "Status"]

Status = Literal["validating", "running", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]
"""What a provider calls any other way is "running" until it has ended."""


class BatchState(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of one batch.

    ``input_file`` is the id of its file of requests, ``output_file`` and ``error_file`` are those of its results, "" where
    there are none. Of ``total`` rows ``completed`` are answered and ``failed`` are refused. ``created_at`` is in seconds
    since 1970. ``reason`` says why it failed, in one line. ``queue_full`` means that it failed only because too many
    tokens wait at the provider: nothing of it ran.
    """

    id: str
    input_file: str
    status: Status
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_at: float = 0.0
    output_file: str = ""
    error_file: str = ""
    reason: str = ""
    queue_full: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing of it will run any more, so that its results are final."""
        return self.status in ("completed", "failed", "expired", "cancelled")


class QueueFull(Transient):
    """The batch was not created, because too many tokens wait at the provider already."""


class FileVanished(Transient):
    """The batch was not created, because the provider does not have its file of requests any more."""


class BatchService(Protocol):
    """The batches of one model at one account.

    Methods raise `Transient` where a later attempt may succeed, and `Fatal` where none will. After a `Transient` of
    `create`, other than `QueueFull` and `FileVanished`, the batch may exist all the same.
    """

    account: str
    """A digest of the address and the key, which does not reveal the key."""

    def row(self, custom_id: str, request: Request) -> bytes:
        """One line of a file of requests, with its line feed."""

    async def upload(self, file: Path) -> str:
        """Upload a file of requests, whatever its size; returns its id."""

    async def create(self, file_id: str, window: str) -> BatchState:
        """Create a batch of the requests in a file, to be answered within `window` ("24h")."""

    async def get(self, batch_id: str) -> BatchState | None:
        """The batch as it is now; None where the provider does not know it."""

    def list(self) -> AsyncIterator[BatchState]:
        """All batches of the account, the newest first."""

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to be ended; no error where it has ended or is unknown."""

    async def download(self, file_id: str, to: Path) -> bool:
        """Write a whole file of results to `to`; False where the provider does not have it."""

    def custom_id(self, line: bytes) -> str:
        """The custom id of a line of results; "" where it cannot be read."""

    def usage(self, line: bytes) -> Usage:
        """What the row of this line was billed for, at the batch price; no request where it was not answered."""

    def outcome(self, line: bytes, request: Request) -> Reply | GristmillError:
        """What the line answers to `request`, read as a response to one that was sent by itself.

        `Transient` for a row that expired, was cancelled, or failed at the provider's side; `Permanent` for one that the
        record cannot get past.
        """
