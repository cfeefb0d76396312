"""What can go wrong, as one tree with three branches; the branch alone decides what happens next.

    GristmillError
    ├── Transient    this attempt failed: try again
    ├── Permanent    this record failed: write down why, go on with the others
    └── Fatal        this run cannot go on: stop, mark nothing failed, say what to do
        └── BadInput     what the user gave is wrong: files, configuration, keys

Errors carry data, never text to be searched. No message may hold a key or a token.
"""

from __future__ import annotations

from typing import Self

from engine.requests import ServerLimits, Usage

__all__ = ["BadInput", "Fatal", "GristmillError", "Permanent", "Transient"]


_NOTHING = Usage()


class GristmillError(Exception):
    """The root. Everything that gristmill raises on purpose is one of its three branches.

    ``usage`` is what was paid on the way to it: for an answer that cannot be used, for the attempts before it.
    """

    usage = _NOTHING

    def costing(self, usage: Usage) -> Self:
        """This error with that `usage`: a copy where it differs, since one error may be raised in many tasks."""
        if usage == self.usage:
            return self
        error = type(self).__new__(type(self), *self.args)
        error.__dict__ = {**self.__dict__, "usage": usage}
        return error


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
        usage: Usage = _NOTHING,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.usage = usage
        self.retry_after_s = retry_after_s
        self.server_limits = server_limits


class Permanent(GristmillError):
    """This record cannot be done, however often it is tried.

    ``kind`` is one stable word by which failures are counted and retried ("content_filter", "encrypted").
    The message is the reason that the user reads.
    """

    def __init__(self, message: str, *, kind: str, usage: Usage = _NOTHING) -> None:
        super().__init__(message)
        self.kind = kind
        self.usage = usage


class Fatal(GristmillError):
    """The run cannot go on. The message is one line that ends in what to do."""


class BadInput(Fatal):
    """A file, a setting or a key that the user gave cannot be used; nothing was written."""
