"""Ours as a user starts it, `gristmill run`, with a clock at its calls and events: when each job was at work.

The clock is the machine's, so that seconds count from when this process was started and hold its imports too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

import msgspec
from processes import Busy, Watched
from work import peak_rss_mb

from engine.datasets import Dataset
from engine.events import Event, Hook, InputDone, ShardOpened
from engine.job import Pipeline
from engine.requests import Call, Reply, Request
from jobs import session
from jobs.cli import main as cli

_run = session.run


class Watch:
    """When each job was at work: one that asks a model while a request of it is under way, another from its first shard

    to its last record.
    """

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._under_way: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self.busy: dict[str, Busy] = {}
        self.requests: dict[str, int] = {}

    def at(self, call: Call) -> Call:
        async def timed(request: Request) -> Reply:
            self._begin(request.job)
            try:
                return await call(request)
            finally:
                self._end(request.job)

        return timed

    def hook(self, event: Event) -> None:
        if isinstance(event, ShardOpened) and event.job not in self.busy and event.job not in self._since:
            self._since[event.job] = self._now()
        if isinstance(event, InputDone) and event.job not in self.requests:
            since = self._since.setdefault(event.job, self._now())
            self.busy[event.job] = Busy(first_s=since, last_s=self._now(), seconds=self._now() - since)

    def _begin(self, job: str) -> None:
        self.requests[job] = self.requests.get(job, 0) + 1
        if not self._under_way.get(job):
            self._since[job] = self._now()
        self._under_way[job] = self._under_way.get(job, 0) + 1

    def _end(self, job: str) -> None:
        self._under_way[job] -= 1
        if not self._under_way[job]:
            since, now = self._since[job], self._now()
            before = self.busy.get(job, Busy(first_s=since, last_s=since, seconds=0.0))
            self.busy[job] = Busy(first_s=before.first_s, last_s=now, seconds=before.seconds + now - since)

    def _now(self) -> float:
        return time.monotonic() - self._start_s


def watching(watch: Watch) -> Callable[..., Any]:
    """The engine's `run`, watched."""

    async def run(
        pipeline: Pipeline, datasets: Mapping[str, Dataset[Any]], call: Call, *, hook: Hook, **given: Any
    ) -> None:
        def both(event: Event) -> None:
            watch.hook(event)
            hook(event)

        await _run(pipeline, datasets, watch.at(call), hook=both, **given)

    return run


def main() -> None:
    watch = Watch(float(sys.argv[1]))
    session.run = watching(watch)
    with redirect_stdout(sys.stderr):  # only what was measured is for whoever started this
        code = cli.main(["run", *sys.argv[2:]])
    watched = Watched(
        code=code,
        wall_s=time.monotonic() - float(sys.argv[1]),
        cpu_s=time.process_time(),
        peak_rss_mb=peak_rss_mb(),
        busy=watch.busy,
        requests=watch.requests,
    )
    print(msgspec.json.encode(watched).decode())


if __name__ == "__main__":
    main()
