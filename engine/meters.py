"""A limit per minute, of requests or of tokens: counted here, and corrected by what the server says remains.

For each meter:

- *Our count.* Until the server reports what remains, at most `_BURST_S * rate + rate * t` is taken in any t seconds
  (one request if that is less than one). An amount above the burst waits for a full bucket and leaves a debt, so the
  average rate holds for it too.
- *The server's count.* A reply reports what remained when its request was admitted. We stored our own level at that
  instant; the difference is our error, and corrects our level now. Requests still in flight are thus counted once,
  whatever the latency. (A server that reports what remains when it replies is off by what changed meanwhile, which is
  little at the limit, where the level hardly moves.)
- The smaller of the configured and the stated rate applies. If the configured one is clearly smaller, a report can only
  lower the level.
- A level that the server has saved up is used at no more than `_PEAK` times the rate, so that replies correct us in
  time.
- *A share.* Under `lease` the rate comes from outside, and our count alone holds. Each second of a share fills the level
  once, wherever the shares go, so processes that share a limit take no more than one alone.
"""

from __future__ import annotations

from math import inf

import msgspec

__all__ = ["Meter", "Reported"]

_BURST_S = 1.0
_HEARD_BURST_S = 0.25
_PEAK = 4.0
_PACE_BURST_S = 0.1
_RESERVE_S = 0.1
_LARGEST_RESERVE_S = 1.6
_STALE_S = 0.25


class Reported(msgspec.Struct, frozen=True):
    """A server's report of one limit: per minute, what remains, seconds until all is available; None if not stated."""

    limit: int | None
    remaining: int | None
    reset_s: float | None


class Meter:
    """Computes when an amount may be taken, takes it, and learns from the server's reports. Times are the loop's."""

    __slots__ = (
        "_bucket",
        "_configured",
        "_leased",
        "_newest",
        "_pace",
        "_reserve_s",
        "_shifted",
        "_stated",
        "_without_rate",
        "heard",
        "largest",
    )

    def __init__(self, per_minute: float | None) -> None:
        self._configured = inf if per_minute is None else per_minute / 60
        self._stated = inf
        self.heard = False  # whether the server has reported what remains
        self.largest = inf if per_minute is None else per_minute  # no request above this can ever be admitted
        self._newest = 0.0  # the latest sending time among the requests whose report was used
        self._shifted = 0.0
        self._leased = False
        self._without_rate = (
            0.0  # from when an amount may be taken while there is no rate: at once, or with a share of 0 never
        )
        self._reserve_s = _RESERVE_S
        self._bucket = _Bucket()
        self._pace = _Bucket()
        if per_minute is not None:
            self._set_rate(self._configured, now=0.0)

    @property
    def rate(self) -> float:
        """Per second; 0 while no limit is known."""
        return self._bucket.rate

    @property
    def server_rate(self) -> float:
        """What the server refills per second, which may be more than the configured rate."""
        return self._stated if self._stated < inf else self._bucket.rate

    @property
    def configured(self) -> float | None:
        """Per minute, as it was set; None for no limit."""
        return None if self._configured == inf else 60 * self._configured

    @property
    def stated(self) -> float | None:
        """Per minute, as the server states it; None where it does not."""
        return None if self._stated == inf else 60 * self._stated

    @property
    def unlimited(self) -> bool:
        """Whether no rate is known, nor a share given."""
        return not (self._bucket.rate or self._without_rate)

    def ready_at(self, amount: float) -> float:
        """The loop's time from which `amount` may be taken, if nothing else is taken first; infinite under a share of 0."""
        if not self._bucket.rate:
            return self._without_rate
        return max(self._bucket.ready_at(amount), self._pace.ready_at(amount))

    def take(self, amount: float, now: float) -> float:
        """Take `amount`. Returns a mark, which `hear` needs with the server's reply to this request."""
        if self._bucket.rate:
            self._pace.take(amount, now)
            self._bucket.take(amount, now)
        else:
            self._bucket.level -= amount
        return self._bucket.level - self._shifted

    def give_back(self, amount: float, now: float) -> None:
        """Return an excess of `amount` (take more, if negative); no-op once the server has reported what remains."""
        if not self.heard:
            self._bucket.take(-amount, now)

    def lease(self, rate: float | None, now: float, *, saved: bool = False) -> None:
        """Go by a share of the limit from now on, per second: with 0 nothing is taken, with None there is no limit.

        The level stays as it is, whatever the share, or is filled with a second's worth where that was ``saved``.
        """
        if not self._leased or self.unlimited:
            self._bucket.refill(now)
            self._bucket.level = self._shifted = 0.0
        if not self._leased:
            self._pace.level = 0.0
        self._leased = True
        self._without_rate = inf if rate == 0 else 0.0
        if not rate:
            self._bucket.change(0.0, self._bucket.capacity if rate == 0 else inf, now)
            return
        # What is left unused here is seen in what the server says to remain, and granted again: it must not be used twice.
        burst_s = _HEARD_BURST_S if self.heard else _BURST_S
        self._pace.change(_PEAK * rate, max(1.0, _PACE_BURST_S * rate), now)
        self._bucket.change(rate, max(1.0, burst_s * rate), now)
        if saved:
            self._bucket.level, self._pace.level = self._bucket.capacity, self._pace.capacity

    def note(self, reported: Reported, amount: float) -> None:
        """Note what a reply states to a request of `amount`, under a lease: that the server reports, and what it can admit."""
        if reported.limit and reported.limit / 60 != self._stated:
            self._stated = reported.limit / 60
            self.largest = 60 * min(self._configured, self._stated)
        if reported.remaining is not None:
            if reported.reset_s is not None and not self._own_rate_binds:
                self.largest = max(self._full(reported, amount), self.largest if self.heard else 0.0)
            self.heard = True

    def full(self, reported: Reported, amount: float) -> float | None:
        """The size of the server's bucket by a reply; None where it is not stated."""
        if reported.remaining is None or reported.reset_s is None or self._stated == inf:
            return None
        return self._full(reported, amount)

    def near_full(self, reported: Reported, amount: float) -> bool:
        """Whether the server's bucket may have been full just before it admitted `amount`."""
        return reported.remaining is not None and reported.remaining + amount >= 0.99 * self._full(reported, amount)

    def hear(self, reported: Reported, *, mark: float, amount: float, sent_at: float, now: float) -> None:
        """Learn from the reply to a request for which `amount` was taken at `sent_at`."""
        if reported.limit:
            self._state_limit(reported.limit / 60, now)
        if reported.remaining is None or not self._bucket.rate or sent_at < self._newest - _STALE_S:
            return
        self._newest = max(self._newest, sent_at)
        self._bucket.refill(now)
        reserve = self._reserve_s * self.rate
        if not self._own_rate_binds:
            self._learn_capacity(reported, amount, reserve)
        error = reported.remaining - reserve - (mark + self._shifted)
        self._shift(min(0.0, error) if self._own_rate_binds else error)
        self.heard = True

    def reject(self, now: float) -> None:
        """The server rejected a request: set our level to 0, or keep a larger reserve if the server reports its level."""
        if self.heard:
            self._reserve_s = min(_LARGEST_RESERVE_S, 2 * self._reserve_s)
        elif self._bucket.rate:
            self._bucket.refill(now)
            self._shift(min(0.0, -self._bucket.level))

    @property
    def _own_rate_binds(self) -> bool:
        return self._configured < 0.999 * self._stated

    def _state_limit(self, stated: float, now: float) -> None:
        if stated != self._stated:
            self._stated = stated
            self._set_rate(min(self._configured, stated), now)

    def _set_rate(self, rate: float, now: float) -> None:
        new = not self._bucket.rate
        burst = max(1.0, _BURST_S * rate)
        self._pace.change(_PEAK * rate, max(1.0, _PACE_BURST_S * rate), now)
        self._bucket.change(rate, burst, now)
        self.largest = 60 * rate
        if new:
            self._pace.level = self._pace.capacity
            self._shift(burst - self._bucket.level)

    def _learn_capacity(self, reported: Reported, amount: float, reserve: float) -> None:
        full = self._full(reported, amount)
        if reported.reset_s is not None:
            self.largest = max(full, self.largest if self.heard else 0.0)
        self._bucket.capacity = max(1.0, full - reserve, self._bucket.capacity if self.heard else 0.0)

    def _full(self, reported: Reported, amount: float) -> float:
        """The size of the server's bucket: what remains, plus what is refilled until it is full."""
        back = amount if reported.reset_s is None else reported.reset_s * self.server_rate
        return min(60 * self.server_rate, (reported.remaining or 0) + max(amount, back))

    def _shift(self, amount: float) -> None:
        self._bucket.level += amount
        self._shifted += amount


class _Bucket:
    """A continuous token bucket that may fall into debt. With rate 0 it only counts what was taken."""

    __slots__ = ("at", "capacity", "level", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self.capacity = inf
        self.level = 0.0
        self.at = 0.0

    def ready_at(self, amount: float) -> float:
        # Computed from a state that is constant while a request waits, so that the result is the same to the last bit.
        short = min(amount, self.capacity) - self.level
        return self.at if short <= 0 else self.at + short / self.rate

    def take(self, amount: float, now: float) -> None:
        self.refill(now)
        self.level -= amount

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now

    def change(self, rate: float, capacity: float, now: float) -> None:
        self.refill(now)
        self.rate, self.capacity = rate, capacity
