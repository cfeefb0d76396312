"""How many requests may be in flight at once, found by trial.

TCP's congestion control (RFC 5681) with HTTP's signs of congestion: slow start, additive increase, multiplicative
decrease. Invariants:

- the window never exceeds the ceiling and never falls below 1;
- it grows only on answers that arrive while it is full, because a window that is not used shows nothing;
- one overload cuts it once: failures of requests that were sent before the last cut do not cut again;
- a 429 is a clear sign. Any other failure may be chance (one request in a hundred hangs), so it cuts only when more
  than a quarter of the recent requests failed.
"""

from __future__ import annotations

__all__ = ["CEILING", "Concurrency"]

CEILING = 4096
_START = 16
_DECREASE = 0.7
_INCREASE = 0.05
_TROUBLE = 0.25
_MEMORY = 1 / 32


class Concurrency:
    """The window: `room` says whether one more request may start, `enter` and `leave` count those in flight.

    ``max_concurrency``, if given, is a hard ceiling and the initial window.
    """

    __slots__ = ("_ceiling", "_step", "_trouble", "_uncut_from", "_unproven", "in_flight", "slow_until", "window")

    def __init__(self, max_concurrency: int | None) -> None:
        self._ceiling = float(CEILING if max_concurrency is None else max_concurrency)
        self.window = self._ceiling if max_concurrency is not None else float(_START)
        self.slow_until = self._ceiling
        self.in_flight = 0
        self._step = 1.0
        self._trouble = 0.0
        self._uncut_from = 0
        self._unproven = False

    @property
    def room(self) -> bool:
        return self.in_flight < int(self.window)

    def enter(self) -> None:
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1

    def open(self) -> None:
        """Open the window fully: the server states rate limits, which pace the requests from now on."""
        if self._uncut_from == 0:
            self.window = self._ceiling

    def begin(self, workers: int) -> None:
        """Take one process's part of the starting window, unless it has changed: together they begin as one would."""
        if self.window == _START:
            self.window = max(1.0, _START // workers)

    def lease(self, share: int | None) -> None:
        """Use this share of the ceiling from now on; a window that was at the ceiling follows it. 0 starts no request;
        None removes every ceiling but `CEILING`."""
        ceiling = float(CEILING if share is None else share)
        self.window = ceiling if self.window >= self._ceiling else min(self.window, ceiling)
        self._ceiling = ceiling
        if self._uncut_from == 0:
            self.slow_until = ceiling

    def succeeded(self) -> None:
        """An answer arrived; its request still counts as in flight."""
        self._trouble -= self._trouble * _MEMORY
        self._unproven = False
        if self.room or self.window >= self._ceiling:
            return
        growth = 1.0 if self.window < self.slow_until else self._step / self.window
        self.window = min(self._ceiling, self.window + growth)

    def failed(self, number: int, *, next_number: int, clear: bool) -> None:
        """Request `number` failed; it still counts as in flight. Cut the window if this is a sign of overload.

        ``clear`` says that it is one for certain. ``next_number`` is the number of the next request: failures of
        earlier ones do not cut again.
        """
        if number < self._uncut_from:
            return
        self._trouble += (1.0 - self._trouble) * _MEMORY
        if not clear and self._trouble <= _TROUBLE:
            return
        self._trouble = 0.0
        self._uncut_from = next_number
        self.window = min(self._ceiling, max(1.0, _DECREASE * min(self.window, self.in_flight)))
        # While nothing is answered at all, cuts do not show where the limit is: the earlier value of `slow_until`
        # stays, and slow start leads back to it.
        if not self._unproven:
            self._unproven = True
            self.slow_until = self.window
            self._step = max(1.0, _INCREASE * self.window)
