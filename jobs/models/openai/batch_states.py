"""What a server says of a batch: its state by any server's word for it, its files, its counts, why it failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from engine.batches.service import BatchState, Status
from jobs.models.openai.words import Words, words_of

__all__ = ["MARKER", "listed", "queue_is_full", "read_state"]

MARKER = "gristmill"
"""The key in the metadata of a batch under which its file is named: a gateway may show that by another id."""

_WORDS: dict[Status, re.Pattern[str]] = {
    "validating": re.compile(r"validat(ing|ion)|queued|pending|created|submitted"),
    "finalizing": re.compile(r"finali[sz]ing"),
    "cancelling": re.compile(r"cancel+ing"),
    "completed": re.compile(r"complet(e|ed)|succe(ss|eded)|done|finished"),
    "failed": re.compile(r"fail\w*|\w*error(ed)?|reject(ed)?|invalid"),
    "expired": re.compile(r"expired?|time(d)?out"),
    "cancelled": re.compile(r"cancel+ed|abort(ed)?|deleted|terminated"),
}
_FULL = ("token_limit_exceeded", "enqueued token limit", "token limit exceeded", "too many batches", "queue is full")
"""How servers say that too much waits already, in small letters."""


def read_state(body: Any, *, key: str = "") -> BatchState:
    """The state in the decoded JSON `body`, in OpenAI's shape or Together's; `key` is cut out of what it says.

    Raises TypeError where it is neither. A word that nobody knows is that of a batch that goes on.
    """
    if isinstance(body, Mapping) and isinstance(body.get("job"), Mapping):
        body = body["job"]
    if not isinstance(body, Mapping) or not isinstance(body.get("id"), str) or not isinstance(body.get("status"), str):
        raise TypeError("a batch has an id and a status")
    fault = _fault(body, key)
    counts = body.get("request_counts")
    counts = counts if isinstance(counts, Mapping) else {}
    return BatchState(
        id=body["id"],
        input_file=_marker(body.get("metadata")) or _name(body.get("input_file_id")),
        status=_status(body["status"]),
        total=_count(counts.get("total")),
        completed=_count(counts.get("completed")),
        failed=_count(counts.get("failed")),
        created_at=_time(body.get("created_at")),
        output_file=_name(body.get("output_file_id")),
        error_file=_name(body.get("error_file_id")),
        reason=fault,
        queue_full=queue_is_full(Words(message=fault)),
    )


def listed(body: Any) -> tuple[list[Any], bool]:
    """The batches of one page of the list, and whether another follows. Together's is bare. Raises TypeError."""
    if isinstance(body, list):
        return body, False
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, list):  # it would pass for an empty list, and a second batch would be made
        raise TypeError("a list of batches has data")
    return data, body.get("has_more") is True


def queue_is_full(words: Words) -> bool:
    """Whether a refusal, or what a failed batch says, is only that too much waits already."""
    return words.has(*_FULL)


def _status(word: str) -> Status:
    plain = re.sub(r"[^a-z]", "", word.lower()).removeprefix("batch")
    return next((status for status, known in _WORDS.items() if known.fullmatch(plain)), "running")


def _fault(body: Mapping[str, Any], key: str) -> str:
    """Why a batch failed, with its code, on one line; "" where nothing is said."""
    return "; ".join(dict.fromkeys(_faults(body, key)))[:300]


def _faults(body: Mapping[str, Any], key: str) -> Iterator[str]:
    errors = body.get("errors")
    found = errors.get("data") if isinstance(errors, Mapping) else errors
    for each in [*(found if isinstance(found, list) else []), body.get("error")][:4]:
        words = words_of(each, key=key)
        if words.message or words.codes:
            line = f" (line {each['line']})" if isinstance(each, Mapping) and each.get("line") else ""
            yield f"{' '.join(words.codes[:1])}: {words.message}{line}".strip(": ")


def _marker(metadata: Any) -> str:
    found = metadata.get("gristmill") if isinstance(metadata, Mapping) else ""
    return found if isinstance(found, str) else ""


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _time(value: Any) -> float:
    """Seconds since 1970, given as a number or as a text in ISO format; else 0."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0.0
    return float(_count(value))
