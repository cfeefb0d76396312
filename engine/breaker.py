"""The breaker: the same failure on many records in a row stops the run before it burns through the corpus.

Such a series means a wrong setting, not many bad records. It is a hook: it counts what it is told and asks for a stop.
What failed until then is written down like any failure; `retry` does it again once the setting is mended.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import Fatal
from engine.events import Event, InputDone, InputFailed
from engine.signals import Stop

__all__ = ["SAME_FAILURES", "Breaker"]

SAME_FAILURES = 25
"""So many records of one job in a row, with one kind of failure and no success between."""


class Breaker:
    """Requests `stop` with a `Fatal` when a job fails `same_failures` times in a row in the same way.

    Jobs in `spared` may fail as often as they do: a folder may hold a hundred files that are no papers.
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
                        f"{event.job} failed {length} times in a row with {event.kind} ({event.reason}): mend what causes "
                        f"that, run the same command again, then `retry --only {event.kind}` does these anew"
                    )
                )
