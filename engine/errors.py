"""All errors, as one tree with three branches; the branch alone decides what happens next::

    GristmillError
    ├── Transient    this attempt failed: try again
    ├── Permanent    this record failed: record the reason, continue with the others
    └── Fatal        this run cannot continue: stop, mark nothing failed, say what to do
        ├── BadInput     files, configuration or keys from the user are wrong
        └── TakenOver    this process was taken for lost, and another one does its work

Errors carry data, so that no code searches their text. No message holds a key or a token.
"""

from __future__ import annotations

from typing import Any, Self

from engine.requests import ServerLimits, Usage

__all__ = ["BadInput", "Fatal", "GristmillError", "Permanent", "TakenOver", "Transient"]


_NOTHING = Usage()


class GristmillError(Exception):
    """The root of all errors that gristmill raises on purpose.

    ``usage`` is what was paid before the error: for an answer that cannot be used, and for earlier attempts.
    ``reply`` is what was answered, "" where nothing was: it is kept with a record that fails, so that a user can look into it.
    """

    usage = _NOTHING
    reply = ""

    def costing(self, usage: Usage) -> Self:
        """This error with `usage` set: a copy if the usage differs, because one error may be raised in many tasks."""
        return self if usage == self.usage else self._copy(usage=usage)

    def replying(self, reply: str) -> Self:
        """A copy of this error with `reply` set; the caller removes secrets from it first."""
        return self._copy(reply=reply)

    def _copy(self, **changes: Any) -> Self:
        error = type(self).__new__(type(self), *self.args)
        error.__dict__ = {**self.__dict__, **changes}
        return error


class Transient(GristmillError):
    """One attempt failed; another attempt may succeed.

    ``kind`` is one stable word for counting ("rate_limited", "server_error", "reset", "timeout", "torn_body").
    ``retry_after_s`` is the wait that the server asked for, in seconds. ``server_limits`` is what its headers said.
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
    """This record cannot be processed, however often it is tried.

    ``kind`` is one stable word by which failures are counted and retried ("content_filter", "encrypted").
    The message is the reason that the user reads.
    """

    def __init__(self, message: str, *, kind: str, usage: Usage = _NOTHING) -> None:
        super().__init__(message)
        self.kind = kind
        self.usage = usage


class Fatal(GristmillError):
    """The run cannot continue. The message is one line that says what to do."""


class BadInput(Fatal):
    """A file, a setting or a key from the user cannot be used; nothing was written."""


class TakenOver(Fatal):
    """A shard was handed out to another process, because this one was taken for lost. What is undone here is done there."""
