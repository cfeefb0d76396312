"""What only the process that works on a run knows: its requests in flight, and how its limits are used."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from engine.limits import Limit
from jobs.run.traffic import Traffic
from jobs.serve.run_now import LimitNow

__all__ = ["Live"]

_MINUTE_S = 60.0


class Live:
    """The figures of a session in this process. `limits` gives name, address and limit of each model asked so far.

    `working` is set to False once the session has ended.
    """

    def __init__(self, traffic: Traffic, limits: Callable[[], Sequence[tuple[str, str, Limit]]]) -> None:
        self._traffic = traffic
        self._limits = limits
        self.working = True
        self._used: dict[int, deque[tuple[float, int, int]]] = {}

    @property
    def in_flight(self) -> int:
        return self._traffic.in_flight

    def of_job(self, job: str) -> int:
        """Requests of `job` in flight."""
        return self._traffic.jobs[job]

    def limits_now(self) -> list[LimitNow]:
        """The use of each limit. What was used in the last minute is known from the looks of that minute."""
        now, loop_now = time.monotonic(), asyncio.get_running_loop().time()
        return [self._use(model, address, limit, now, loop_now) for model, address, limit in self._limits()]

    def _use(self, model: str, address: str, limit: Limit, now: float, loop_now: float) -> LimitNow:
        requests, tokens = limit.used
        samples = self._used.setdefault(id(limit), deque([(now, 0, 0)]))
        samples.append((now, requests, tokens))
        while len(samples) > 2 and samples[1][0] <= now - _MINUTE_S:
            samples.popleft()
        requests_per_minute, tokens_per_minute = limit.per_minute
        return LimitNow(
            model=model,
            address=address,
            in_flight=limit.in_flight,
            window=limit.window,
            waiting=limit.waiting,
            paused_s=max(0.0, limit.paused_until - loop_now),
            requests=requests - samples[0][1],
            requests_per_minute=requests_per_minute,
            tokens=tokens - samples[0][2],
            tokens_per_minute=tokens_per_minute,
        )
