"""A limit of so many a minute, of requests or of tokens, kept by our own books and by what the server says remains.

What holds, for each meter:

- *Own books.* Until the server tells what remains, in any time of t seconds at most `_BURST_S * rate + rate * t` is
  taken (one request where that is less than one). An amount above the burst waits for a full bucket and leaves a debt,
  so the average holds for it too.
- *The server's books.* A reply tells what remained when its request was admitted. We kept what our model said at that
  instant; the difference is the model's error then, and shifts the model now. Requests still under way are thus counted
  once, whatever the latency. (A server that tells what remains when it replies is off by what changed meanwhile, which is
  little at the limit, where the level hardly moves.)
- The smaller of the configured and the stated rate holds. Where the configured one is clearly smaller, what the server
  says can only lower the level.
- What the server has saved up is spent at no more than `_PEAK` times the rate, so that its replies steer in time.
"""

from __future__ import annotations

from math import inf

import msgspec

__all__ = ["Meter", "Told"]

_BURST_S = 1.0
_PEAK = 4.0
_PACE_BURST_S = 0.1
_RESERVE_S = 0.1
_LARGEST_RESERVE_S = 1.6
_STALE_S = 0.25


class Told(msgspec.Struct, frozen=True):
    """What a server said of one limit: per minute, what remains, and seconds until all is back; None is unsaid."""

    limit: int | None
    remaining: int | None
    reset_s: float | None


class Meter:
    """Says when an amount may be taken, takes it, and learns from what the server tells. Times are the loop's."""

    __slots__ = (
        "_bucket",
        "_configured",
        "_error_at_sending",
        "_newest",
        "_pace",
        "_reserve_s",
        "_shifted",
        "_stated",
        "heard",
        "largest",
    )

    def __init__(self, per_minute: float | None) -> None:
        self._configured = inf if per_minute is None else per_minute / 60
        self._stated = inf
        self.heard = False  # has the server told what remains
        self.largest = inf if per_minute is None else per_minute  # no request above this can ever be admitted
        self._newest = 0.0  # of the requests whose reply was heard, when the last was sent
        self._shifted = 0.0
        self._reserve_s = _RESERVE_S
        self._bucket = _Bucket()
        self._pace = _Bucket()
        if per_minute is not None:
            self._set_rate(self._configured, now=0.0)

    @property
    def rate(self) -> float:
        """A second; 0 while no limit is known."""
        return self._bucket.rate

    @property
    def server_rate(self) -> float:
        """What the server refills a second, which may be more than is configured."""
        return self._stated if self._stated < inf else self._bucket.rate

    def ready_at(self, amount: float) -> float:
        """When `amount` may be taken if nothing else is taken first."""
        if not self._bucket.rate:
            return 0.0
        return max(self._bucket.ready_at(amount), self._pace.ready_at(amount))

    def take(self, amount: float, now: float) -> float:
        """Take it. Returns the mark that `hear` wants back with the server's reply to this request."""
        if self._bucket.rate:
            self._pace.take(amount, now)
            self._bucket.take(amount, now)
        else:
            self._bucket.level -= amount
        return self._bucket.level - self._shifted

    def give_back(self, amount: float, now: float) -> None:
        """Return what was taken too much (take more, if negative). The server's books, where heard, need no such."""
        if not self.heard:
            self._bucket.take(-amount, now)

    def near_full(self, told: Told, amount: float) -> bool:
        """May the server's bucket have been full just before it admitted `amount`?"""
        return told.remaining is not None and told.remaining + amount >= 0.99 * self._full(told, amount)

    def hear(self, told: Told, *, mark: float, amount: float, sent_at: float, now: float) -> None:
        """Learn from the reply to a request for which `amount` was taken at `sent_at`."""
        if told.limit:
            self._state_limit(told.limit / 60, now)
        if told.remaining is None or not self._bucket.rate or sent_at < self._newest - _STALE_S:
            return
        self._newest = max(self._newest, sent_at)
        self._bucket.refill(now)
        reserve = self._reserve_s * self.rate
        if not self._own_rate_binds:
            self._learn_capacity(told, amount, reserve)
        error = told.remaining - reserve - (mark + self._shifted)
        self._shift(min(0.0, error) if self._own_rate_binds else error)
        self.heard = True

    def reject(self, now: float) -> None:
        """The server rejected a request for its limit: by our own books nothing is left, by its books, keep more back."""
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

    def _learn_capacity(self, told: Told, amount: float, reserve: float) -> None:
        full = self._full(told, amount)
        if told.reset_s is not None:
            self.largest = max(full, self.largest if self.heard else 0.0)
        self._bucket.capacity = max(1.0, full - reserve, self._bucket.capacity if self.heard else 0.0)

    def _full(self, told: Told, amount: float) -> float:
        """The size of the server's bucket: what remains and what comes back until it is full."""
        back = amount if told.reset_s is None else told.reset_s * self.server_rate
        return min(60 * self.server_rate, (told.remaining or 0) + max(amount, back))

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
        # From a state that does not move while one waits, so that the time found stays the same to the last bit.
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
