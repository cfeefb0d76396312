"""Requests and tokens per minute as OpenAI enforces them: continuous buckets, and headers with their state.

A bucket holds ``bucket_s`` seconds of its limit and fills continuously. A request passes when both buckets hold
enough; one that is larger than a bucket passes when the bucket is full, and leaves a debt. A rejected request costs
nothing, and one that is larger than the limit of a minute never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from jobs.simulator.openai import Asked, Refused
from jobs.simulator.settings import Simulation

__all__ = ["Bucket", "Limits", "format_duration", "retry_after"]


class Bucket:
    """A continuous bucket of `per_minute`; `clock` returns seconds."""

    def __init__(self, per_minute: float, bucket_s: float, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._per_s = per_minute / 60
        self._capacity = max(1.0, self._per_s * bucket_s)
        self._clock = clock
        self._level = self._capacity
        self._at_s = clock()

    def wait_s(self, amount: float) -> float:
        """Seconds until `amount` can be taken; 0 when it can be now."""
        self._fill()
        return max(0.0, min(amount, self._capacity) - self._level) / self._per_s

    def take(self, amount: float) -> None:
        """Take `amount`, into debt if need be."""
        self._fill()
        self._level -= amount

    @property
    def remaining(self) -> int:
        """What may be taken now."""
        self._fill()
        return max(0, int(self._level))

    @property
    def reset_s(self) -> float:
        """Seconds until the bucket is full."""
        return (self._capacity - self._level) / self._per_s

    def _fill(self) -> None:
        now_s = self._clock()
        self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class Limits:
    """The two limits of one model; 0 means no limit."""

    def __init__(self, simulation: Simulation, clock: Callable[[], float]) -> None:
        limits = {"requests": simulation.requests_per_minute, "tokens": simulation.tokens_per_minute}
        self._buckets = {
            name: Bucket(per_minute, simulation.bucket_s, clock) for name, per_minute in limits.items() if per_minute
        }

    def take(self, asked: Asked) -> bytes:
        """Take one request and return the header lines with what remains; raises `Refused` with status 429."""
        amounts = {"requests": 1, "tokens": asked.charged_tokens}
        for name, bucket in self._buckets.items():
            if amounts[name] > bucket.per_minute:
                raise self._refused(asked, name, amounts[name], None)
        waits = {name: bucket.wait_s(amounts[name]) for name, bucket in self._buckets.items()}
        name = max(waits, key=waits.__getitem__)
        if waits[name] > 1e-9:  # full up to rounding
            raise self._refused(asked, name, amounts[name], waits[name])
        for name, bucket in self._buckets.items():
            bucket.take(amounts[name])
        return self._headers()

    def _headers(self) -> bytes:
        return "".join(
            f"x-ratelimit-limit-{name}: {int(bucket.per_minute)}\r\n"
            f"x-ratelimit-remaining-{name}: {bucket.remaining}\r\n"
            f"x-ratelimit-reset-{name}: {format_duration(bucket.reset_s)}\r\n"
            for name, bucket in self._buckets.items()
        ).encode()

    def _refused(self, asked: Asked, name: str, amount: float, wait_s: float | None) -> Refused:
        per = "requests per min (RPM)" if name == "requests" else "tokens per min (TPM)"
        limit = int(self._buckets[name].per_minute)
        headers = self._headers()
        if wait_s is None:
            message = f"Request too large for {asked.model} on {per}: Limit {limit}, Requested {amount}."
        else:
            used = limit - self._buckets[name].remaining
            message = (
                f"Rate limit reached for {asked.model} on {per}: Limit {limit}, Used {used}, Requested {amount}. "
                f"Please try again in {format_duration(wait_s)}."
            )
            headers += retry_after(wait_s)
        return Refused(429, message, type=name, code="rate_limit_exceeded", headers=headers)


def retry_after(wait_s: float) -> bytes:
    """The two headers with the time to wait: in whole seconds and in milliseconds, both rounded up."""
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (math.ceil(wait_s), math.ceil(wait_s * 1000))


def format_duration(duration_s: float) -> str:
    """As in OpenAI's headers: "20ms", "1.5s", "6m0s", "1h2m3s"."""
    milliseconds = math.ceil(duration_s * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    seconds = f"{milliseconds / 1000:g}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
