"""What headers say: how long to wait, and what a minute's limits are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from engine.requests import ServerLimits

__all__ = ["duration_s", "retry_after_s", "server_limits"]

_LONGEST_WAIT_S = 3600.0
"""Longer waits are cut to this: waiting a day by mistake would be worse than sending 24 requests."""


def retry_after_s(headers: Mapping[str, str], *, most: float = _LONGEST_WAIT_S) -> float | None:
    """How long the server asks to wait, in seconds, at `most`; None where it does not."""
    for name, unit in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value)
        seconds = _until(value, headers.get("Date")) if seconds is None else seconds * unit
        return None if seconds is None else min(max(0.0, seconds), most)
    return None


def _until(date: str, now: str | None) -> float | None:
    """Seconds to `date` by the server's own clock (its Date header): ours may be wrong, or jump."""
    try:
        told_at = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return (parsedate_to_datetime(date) - told_at).total_seconds()
    except (ValueError, TypeError):
        return None


_LEAST_TOKENS = 100
"""No model admits fewer tokens a minute: a header that says so counts something else."""


def server_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """What ``x-ratelimit-*`` say; None where there are none."""
    if "x-ratelimit-limit-requests" not in headers and "x-ratelimit-limit-tokens" not in headers:
        return None
    most = _integer(headers.get("x-ratelimit-limit-tokens"))
    if most is not None and most < _LEAST_TOKENS:
        headers = {name: value for name, value in headers.items() if not name.lower().endswith("-tokens")}
    return ServerLimits(
        limit_requests=_integer(headers.get("x-ratelimit-limit-requests")),
        remaining_requests=_integer(headers.get("x-ratelimit-remaining-requests")),
        reset_requests_s=duration_s(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=_integer(headers.get("x-ratelimit-limit-tokens")),
        remaining_tokens=_integer(headers.get("x-ratelimit-remaining-tokens")),
        reset_tokens_s=duration_s(headers.get("x-ratelimit-reset-tokens")),
    )


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(value: str | None) -> float | None:
    """OpenAI writes "6m0s", "20ms", "1h2m3.5s"; others plain seconds."""
    if value is None:
        return None
    parts = _PART.findall(value)
    if parts:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _number(value)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
