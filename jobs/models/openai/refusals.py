"""Refusals: an HTTP status and the server's words, as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.errors import Fatal, Permanent, Transient
from engine.requests import ServerLimits
from jobs.models.connection import Connection
from jobs.models.connection_errors import proxy_refused
from jobs.models.openai.headers import retry_after_s

__all__ = ["Refusals"]

_decoder = msgspec.json.Decoder()


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Reads the refusals of one model: ``role`` is its section, ``name`` what the server calls it.

    ``key`` is cut out of every message; ``key_variable`` names the environment variable that holds it.
    """

    role: str
    name: str
    key: str
    key_variable: str
    way: Connection

    def error(
        self, status: int, headers: Mapping[str, str], data: bytes, limits: ServerLimits | None
    ) -> Transient | Permanent | Fatal:
        """What a response of `status` means for the request, the record or the run."""
        error = _error_of(data)
        message = f"{status}: {_one_line(error.get('message'), key=self.key)}"
        # OpenAI says it by the code; llama.cpp repeats the status there and says it by the type.
        words = [str(error.get("code")), str(error.get("type"))]
        after = retry_after_s(headers)
        match status:
            case 401 | 403:
                return Fatal(
                    f"{self.way.shown} refuses the key of [models.{self.role}] ({status}); "
                    f"check the environment variable {self.key_variable or '(none is configured)'}"
                )
            case _ if 300 <= status < 400:
                return Fatal(
                    f"{self.way.shown} sends requests elsewhere ({status}); mend base_url in [models.{self.role}]"
                )
            case 402:
                return Fatal(
                    f"the balance at {self.way.shown} is used up (402); add to it, then run the same command again"
                )
            case 407:
                return proxy_refused(status, self.way)
            case 404:
                return Fatal(
                    f"{self.way.shown} knows no model {self.name!r} (404); check model and base_url in [models.{self.role}]"
                )
            case 429 if "insufficient_quota" in words:
                return Fatal(f"the quota at {self.way.shown} is used up; add to it, then run the same command again")
            case 429:
                return Transient(message, kind="rate_limited", retry_after_s=after, server_limits=limits)
            case 503 | 529:
                return Transient(message, kind="overloaded", retry_after_s=after, server_limits=limits)
            case 408 | 409 | 425:
                return Transient(message, kind="server_error", retry_after_s=after, server_limits=limits)
            case _ if status >= 500:
                return Transient(message, kind="server_error", retry_after_s=after, server_limits=limits)
            case _:
                return Permanent(
                    message, kind=next((_REFUSALS[word] for word in words if word in _REFUSALS), "refused")
                )


_REFUSALS = {
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "context_length_exceeded": "context_too_long",
    "string_above_max_length": "context_too_long",
    "exceed_context_size_error": "context_too_long",
}


def _error_of(data: bytes) -> Mapping[str, Any]:
    try:
        body = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {"message": str(error or "")}


def _one_line(message: object, *, key: str) -> str:
    # A server may quote what it was sent; a key among it must not reach our logs.
    text = re.sub(r"\s+", " ", str(message or "no reason given"))
    text = text.replace(key, "***") if key else text
    return re.sub(r"\b(sk|key|Bearer)[-_ ][\w\-*.]{6,}", "***", text)[:200]
