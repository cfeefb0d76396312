"""How many requests may be in flight at once, where that has to be found out by trying.

TCP's congestion control (RFC 5681) with HTTP's signs of congestion: slow start, additive increase, multiplicative
decrease. What holds:

- the window never exceeds the ceiling and never falls below 1;
- it grows only by answers that came while it was full, so an unused window proves nothing and stays;
- one episode cuts it once: failures of requests that were sent before the last cut do not cut again;
- a 429 is a clear sign. Any other failure may be chance (one request in a hundred hangs), so it cuts only when more
  than a quarter of the recent answers failed.
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
    """The window: `room` tells whether one more may go, `enter` and `leave` count those in flight.

    ``max_concurrency`` is a hard ceiling and then also where the window begins.
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
        """Open the window as far as it goes: the server states limits, and these pace the requests from now on."""
        if self._uncut_from == 0:
            self.window = self._ceiling

    def succeeded(self) -> None:
        """An answer came, its request still counted as in flight."""
        self._trouble -= self._trouble * _MEMORY
        self._unproven = False
        if self.room or self.window >= self._ceiling:
            return
        growth = 1.0 if self.window < self.slow_until else self._step / self.window
        self.window = min(self._ceiling, self.window + growth)

    def failed(self, number: int, *, next_number: int, clear: bool) -> None:
        """Request `number` failed, its place still counted as in flight; cut the window if that says overload.

        ``next_number`` is the number of the next request: those below it will not cut again.
        """
        if number < self._uncut_from:
            return
        self._trouble += (1.0 - self._trouble) * _MEMORY
        if not clear and self._trouble <= _TROUBLE:
            return
        self._trouble = 0.0
        self._uncut_from = next_number
        self.window = max(1.0, _DECREASE * min(self.window, self.in_flight))
        # While nothing is answered at all, the cuts say nothing of where the limit is: what was known before them stays,
        # and slow start leads back to it.
        if not self._unproven:
            self._unproven = True
            self.slow_until = self.window
            self._step = max(1.0, _INCREASE * self.window)
