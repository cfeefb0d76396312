"""What all processes together may use a second of one limit per minute.

Where the server says what remains, that is compared with what all processes have sent since: a filter follows the level
of its bucket, and how much faster or slower that changes than by our books (others may use the same key). The rate leads
the level back to a small reserve within `_HORIZON_S`, so what was not used for a while, when a share changed hands or a
worker was lost, is used later. No lease outlives that time: what shares allow beyond the limit is there already.
"""

from __future__ import annotations

from collections import deque
from math import inf

__all__ = ["Supply"]

_HORIZON_S = 4.0
"""A lease, and the second's worth that a meter may have saved up."""

_PEAK = 4.0
_LEAST = 0.05
_LEVEL_GAIN, _DRIFT_GAIN = 0.5, 0.1
_RESERVE_S, _LARGEST_RESERVE_S = 0.2, 1.6
_CALM_S = 2.0
_APART_S, _KEPT = 0.2, 600


class Supply:
    """One limit, in amounts per second; times are the caller's.

    ``exact`` says that our books count as the server does, so that its bucket can only fill slower than by them.
    """

    def __init__(self, *, exact: bool) -> None:
        self._most_drift = 0.0 if exact else 0.25
        self.configured = self.stated = inf
        self._level: float | None = None
        self._full = 0.0
        self._drift = 0.0
        self._shifted = 0.0  # all corrections so far
        self._marks: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._at = 0.0
        self._observed_at = -inf
        self._reserve_s = _RESERVE_S
        self._raised_at = -inf

    @property
    def limit(self) -> float:
        """What is configured or stated, whichever is less; infinite where neither is known."""
        return min(self.configured, self.stated)

    def learn(self, configured: float | None, stated: float | None) -> None:
        """Learn the limits per minute; None is no limit."""
        self.configured = inf if configured is None else configured / 60
        if stated is not None:
            self.stated = stated / 60

    def per_s(self, at_once: float) -> float:
        """What may be used a second from now on. As much as `at_once` may be sent in one instant."""
        if self._level is None or self.limit == inf:
            return self.limit
        target = self._reserve_s * self.stated + at_once
        horizon_s = max(_HORIZON_S, 4 * at_once / self.limit)
        rate = self.stated + self._drift + (self._level - target) / horizon_s
        binding = self.configured < 0.999 * self.stated
        return min(self.configured if binding else _PEAK * self.limit, max(_LEAST * self.limit, rate))

    def advance(self, taken: float, now: float) -> None:
        """So much was taken since the last call."""
        if self._level is not None:
            self._level = min(self._full, self._level + (self.stated + self._drift) * (now - self._at) - taken)
            if not self._marks or now - self._marks[-1][0] >= _APART_S:
                self._marks.append((now, self._level - self._shifted))
        self._at = now

    def observe(
        self, remaining: float, full: float | None, *, age_s: float, taken_since: float, grain: float, now: float
    ) -> None:
        """The server had so much left ``age_s`` seconds ago, and ``taken_since`` was taken since; both are known to about a
        request, which is a ``grain``."""
        at = now - age_s
        if self.stated == inf or at <= self._observed_at - 0.25:
            return
        self._full = max(self._full, remaining, full or 0.0)
        if self._level is None:
            self._level = self._after(remaining, age_s, taken_since)
        else:
            mark = self._mark(at)
            error = self._after(remaining, age_s, taken_since) - self._level
            if mark is not None:  # better, since a bucket may have been full on the way
                error = remaining - (mark + self._shifted)
            error -= max(-grain, min(grain, error))
            self._level += _LEVEL_GAIN * error
            self._shifted += _LEVEL_GAIN * error
            if max(remaining, self._level) < 0.9 * self._full:  # a full bucket refills no further
                self._drift += _DRIFT_GAIN * error / min(2.0, max(0.5, at - self._observed_at))
                self._drift = max(-0.95 * self.stated, min(self._most_drift * self.stated, self._drift))
        self._observed_at = max(self._observed_at, at)

    def _after(self, remaining: float, age_s: float, taken_since: float) -> float:
        return min(self._full, remaining + (self.stated + self._drift) * age_s - taken_since)

    def _mark(self, at: float) -> float | None:
        """Our level at that time, less the corrections until then; None if it was not known."""
        later = None
        for time, level in reversed(self._marks):
            if time <= at:
                if later is None:
                    return level
                return level + (later[1] - level) * (at - time) / (later[0] - time)
            later = time, level
        return None

    def reject(self, now: float) -> None:
        """The server rejected requests: keep a larger reserve, once for those that come together."""
        if now - self._raised_at >= _CALM_S:
            self._raised_at = now
            self._reserve_s = min(_LARGEST_RESERVE_S, 2 * self._reserve_s)
