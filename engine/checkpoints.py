"""What is written beside the rows of a shard: the lines of its checkpoint, and its seal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from engine.requests import Usage

__all__ = ["MARK", "Entry", "FailedInput", "Failure", "Mark", "Seal", "seal_of", "total"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an input has no rows: `kind` is one stable word for counting, `reason` is for reading."""

    kind: str
    reason: str


class FailedInput(Failure, frozen=True, kw_only=True):
    """A failure in a seal, with the id of its input."""

    id: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One checkpoint line: the input, the number of its rows, the byte where they end, their cost, or the error.

    `reply` is what was answered to an input that failed, see `engine.failed_replies`. A line with a `fence` is no input:
    from there on only the worker that was given this fence may write, see `engine.shards`.
    """

    id: str
    position: int
    rows: int = 0
    end: int
    usage: Usage = Usage()
    error: Failure | None = None
    reply: str = ""
    fence: str = ""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``.done.json``, which makes a shard final. ``source`` identifies what the shard was made from.

    `failures`, and `empty`, the ids of the inputs without rows, are in the order of the inputs. `kept` counts the
    former inputs whose rows stand behind all others; it is left out where there are none.
    """

    inputs: int
    rows: int
    failures: list[FailedInput]
    bytes: int
    sha256: str
    usage: Usage
    source: str = ""
    empty: list[str] = []
    kept: int | msgspec.UnsetType = msgspec.UNSET


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The checkpoint's last line: the shard is decided, this is its seal. `fence` is that of the worker that wrote it."""

    seal: Seal
    fence: str = ""


MARK = b'{"seal":'
"""How a mark begins, and no entry."""


def total(usages: Iterable[Usage]) -> Usage:
    """The sum, independent of the order: dollars are summed exactly and rounded to a billionth."""
    paid = list(usages)
    return Usage(
        requests=sum(usage.requests for usage in paid),
        prompt_tokens=sum(usage.prompt_tokens for usage in paid),
        completion_tokens=sum(usage.completion_tokens for usage in paid),
        cost_usd=round(math.fsum(usage.cost_usd for usage in paid), 9),
        cached=sum(usage.cached_tokens for usage in paid),
        cache_write=sum(usage.cache_write_tokens for usage in paid),
        reasoning=sum(usage.reasoning_tokens for usage in paid),
    )


def seal_of(
    placed: Sequence[tuple[Entry, bytes]], entries: Iterable[Entry], *, inputs: int, source: str, kept: int
) -> Seal:
    """The seal of a shard whose inputs, in order, are `placed` with their rows; `entries` are all that was paid for."""
    digest = sha256()
    for _, lines in placed:
        digest.update(lines)
    return Seal(
        inputs=inputs,
        rows=sum(entry.rows for entry, _ in placed),
        failures=[
            FailedInput(id=entry.id, kind=entry.error.kind, reason=entry.error.reason)
            for entry, _ in placed
            if entry.error is not None
        ],
        bytes=sum(len(lines) for _, lines in placed),
        sha256=digest.hexdigest(),
        usage=total(entry.usage for entry in entries),
        source=source,
        empty=[entry.id for entry, _ in placed if entry.error is None and not entry.rows],
        kept=kept or msgspec.UNSET,
    )
