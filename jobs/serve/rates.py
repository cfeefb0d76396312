"""The inputs that each job finishes a second: now, and over the time of the run as the points of a plot."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from jobs.serve.log_tail import Said
from jobs.serve.run_now import Point

__all__ = ["Rates"]

_OVER_S = 30.0
_POINTS_OF_LOG = 120


class Rates:
    """Counted from looks at what is done; what was before the first look stands in the seals of the log."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def look(self, now: float, done: Mapping[str, int], said: Sequence[Said]) -> list[Point]:
        """The points since the last look, when `done` inputs are finished at `now`."""
        if not self._looks:
            self._looks.append((now, done))
            return _points([line for line in said if line.event == "gristmill.shard.sealed" and not line.found])
        before_at, before = self._looks[-1]
        if now <= before_at:
            return []
        self._looks.append((now, done))
        while len(self._looks) > 2 and self._looks[1][0] <= now - _OVER_S:
            self._looks.popleft()
        seconds = now - before_at
        finished = {job: (count - before.get(job, 0)) / seconds for job, count in done.items()}
        return [Point(at=now, seconds=seconds, rates={job: rate for job, rate in finished.items() if rate > 0})]

    def now(self, job: str) -> float:
        """The inputs of `job` a second, over the last half minute."""
        (first, before), (last, after) = self._looks[0], self._looks[-1]
        return max(0.0, after.get(job, 0) - before.get(job, 0)) / (last - first) if last > first else 0.0


def _points(sealed: Sequence[Said]) -> list[Point]:
    """The rates by slots of time, in each of which a shard of inputs counts at the time of its seal."""
    if not sealed:
        return []
    first, last = sealed[0].at, sealed[-1].at
    width = max(2.0, (last - first) / _POINTS_OF_LOG)
    slots: dict[int, Counter[str]] = {}
    for line in sealed:
        slots.setdefault(max(0, int((line.at - first) / width)), Counter())[line.job] += line.inputs
    return [
        Point(
            at=first + (slot + 1) * width,
            seconds=width,
            rates={job: inputs / width for job, inputs in slots.get(slot, Counter[str]()).items()},
        )
        for slot in range(max(slots) + 1)
    ]
