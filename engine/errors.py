"""What can go wrong, as one tree with three branches; the branch alone decides what happens next.

    GristmillError
    ├── Transient    this attempt failed: try again
    ├── Permanent    this record failed: write down why, go on with the others
    └── Fatal        this run cannot go on: stop, mark nothing failed, say what to do
        └── BadInput     what the user gave is wrong: files, configuration, keys

Errors carry data, never text to be searched. No message may hold a key or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.requests import ServerLimits, Usage

__all__ = ["BadInput", "Fatal", "GristmillError", "Permanent", "Transient"]


class GristmillError(Exception):
    """The root. Everything that gristmill raises on purpose is one of its three branches."""


class Transient(GristmillError):
    """One attempt failed in a way that another attempt may not.

    ``kind`` is one stable word for counting ("rate_limited", "server_error", "reset", "timeout", "torn_body").
    ``retry_after_s`` is what the server asked for, in seconds. ``server_limits`` is what its headers told.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "transient",
        retry_after_s: float | None = None,
        server_limits: ServerLimits | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.server_limits = server_limits


class Permanent(GristmillError):
    """This record cannot be done, however often it is tried.

    ``kind`` is one stable word by which failures are counted and retried ("content_filter", "encrypted").
    The message is the reason that the user reads. ``usage`` is what the answer cost that cannot be used, if one came.
    """

    def __init__(self, message: str, *, kind: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.usage = usage


class Fatal(GristmillError):
    """The run cannot go on. The message is one line that ends in what to do."""


class BadInput(Fatal):
    """A file, a setting or a key that the user gave cannot be used; nothing was written."""
