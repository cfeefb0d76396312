"""The breaker: the same failure on many records in a row stops the run before the whole corpus fails.

Such a series means a wrong setting, not many bad records. The breaker is a hook: it counts events and requests a stop.
The records that failed until then are failures like others; `retry` repeats them once the setting is fixed.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import Fatal
from engine.events import Event, InputDone, InputFailed
from engine.signals import Stop

__all__ = ["SAME_FAILURES", "Breaker"]

SAME_FAILURES = 25
"""How many records of one job must fail in a row, with one kind of failure and no success in between."""


class Breaker:
    """Requests `stop` with a `Fatal` when a job fails `same_failures` times in a row in the same way.

    Jobs in `spared` are not counted: a folder may hold a hundred files that are not papers.
    """

    def __init__(self, stop: Stop, *, spared: Collection[str] = (), same_failures: int = SAME_FAILURES) -> None:
        self._stop = stop
        self._spared = frozenset(spared)
        self._same_failures = same_failures
        self._series: dict[str, tuple[str, int]] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, InputDone):
            self._series.pop(event.job, None)
        elif isinstance(event, InputFailed) and event.job not in self._spared:
            kind, length = self._series.get(event.job, (event.kind, 0))
            length = length + 1 if kind == event.kind else 1
            self._series[event.job] = event.kind, length
            if length >= self._same_failures:
                self._stop.request(
                    Fatal(
                        f"{event.job} failed {length} times in a row with {event.kind} ({event.reason}): fix the "
                        f"cause, run the same command again, then `retry --only {event.kind}` repeats these records"
                    )
                )
