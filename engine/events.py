"""The events of a run: frozen values that are passed to hooks. Logging and progress are hooks.

`BatchChanged` is not of a job but of the run: its ``job`` is "batches". It comes each time that the record of a batch
is written: when it is meant, uploaded, submitted, looked at (once a minute at most) and ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from engine.requests import Usage

__all__ = [
    "AttemptFailed",
    "BatchChanged",
    "Event",
    "Hook",
    "InputDone",
    "InputDropped",
    "InputFailed",
    "JobFinished",
    "JobStarted",
    "Note",
    "RowsDropped",
    "ShardOpened",
    "ShardSealed",
    "log_events",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job."""

    job: str


class JobStarted(Event, frozen=True, kw_only=True):
    """The job starts; the jobs that it waits for have ended."""


class JobFinished(Event, frozen=True, kw_only=True):
    """Every shard of the job is sealed, or the step is done."""


class ShardOpened(Event, frozen=True, kw_only=True):
    """Work on a shard starts: of `inputs`, `done` are in its checkpoint already, `failed` of them as failures."""

    shard: int
    inputs: int
    done: int
    failed: int
    usage: Usage


class ShardSealed(Event, frozen=True, kw_only=True):
    """A shard is final. `found` means that it was sealed before this process started."""

    shard: int
    inputs: int
    rows: int
    failed: int
    usage: Usage
    found: bool = False


class InputDone(Event, frozen=True, kw_only=True):
    """One input's rows are on disk; or those of ``inputs`` inputs, without an id, that another process has finished."""

    id: str
    rows: int
    usage: Usage
    inputs: int = 1


class InputFailed(Event, frozen=True, kw_only=True):
    """One input's failure is on disk, with its reason."""

    id: str
    kind: str
    reason: str
    usage: Usage


class InputDropped(Event, frozen=True, kw_only=True):
    """The review of a shard dropped the rows of a finished input, which now counts as failed."""

    id: str
    kind: str
    reason: str


class RowsDropped(Event, frozen=True, kw_only=True):
    """A job did not keep some rows of one input: how many, by reason."""

    reasons: dict[str, int]


class AttemptFailed(Event, frozen=True, kw_only=True):
    """One attempt of a call failed; the next starts after `wait_s` seconds."""

    kind: str
    reason: str
    attempt: int
    wait_s: float


class BatchChanged(Event, frozen=True, kw_only=True):
    """Batch ``number`` of the run, of the model of ``role``, stands as ``RUN/batches/N.json`` says (`BatchRecord`).

    ``state`` is "meant", "uploaded", "submitted" or "ended", ``status`` the provider's last word. Of ``rows`` the provider
    has answered ``done``, and ``failed`` in vain; ``made_at`` is in seconds since 1970.
    """

    number: int
    role: str
    state: str
    status: str
    rows: int
    done: int
    failed: int
    made_at: float


class Note(Event, frozen=True, kw_only=True):
    """One line for the user, from a job or step."""

    text: str


Hook = Callable[[Event], None]

_LEVELS = {
    InputDone: logging.DEBUG,
    ShardOpened: logging.DEBUG,
    InputDropped: logging.WARNING,
    InputFailed: logging.WARNING,
}


def log_events(logger: logging.Logger) -> Hook:
    """A hook that logs each event under its dotted name, its fields as ``record.fields``.

    Events that happen for every record are logged at DEBUG, failures at WARNING, others at INFO.
    """

    def hook(event: Event) -> None:
        level = _LEVELS.get(type(event), logging.INFO)
        if logger.isEnabledFor(level):
            fields = msgspec.to_builtins(event)
            name = f"gristmill.{_dotted(type(event).__name__)}"
            logger.log(level, "%s %s", name, fields, extra={"event": name, "fields": fields})

    return hook


def _dotted(name: str) -> str:
    return "".join(f".{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip(".")
