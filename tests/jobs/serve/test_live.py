from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.limits import Limit
from engine.requests import Reply, Request, Usage
from engine.virtualtime import run_virtual
from jobs.models.chat import chat
from jobs.run.traffic import Traffic
from jobs.serve.live import Live
from jobs.serve.run_now import LimitNow

REQUEST = chat("judge", [{"role": "user", "content": "q"}], max_tokens=9)


def test_the_use_of_a_limit_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and tokens count from the looks of the last minute, beside what the limit admits in one."""
    now = [0.0]
    monkeypatch.setattr("jobs.serve.live.time.monotonic", lambda: now[0])

    async def work() -> Sequence[LimitNow]:
        limit = Limit(requests_per_minute=6000, tokens_per_minute=900_000)
        live = Live(Traffic(), lambda: [("model", "http://here", limit)])
        found = live.limits_now()
        for at, requests in ((10.0, 3), (65.0, 2), (120.0, 0)):
            for _ in range(requests):
                async with limit.slot(REQUEST) as slot:
                    slot.settle(Usage(requests=1, prompt_tokens=40, completion_tokens=2))
            now[0] = at
            found += live.limits_now()
        return found

    uses = run_virtual(work())
    assert [(use.requests, use.tokens) for use in uses] == [(0, 0), (3, 126), (5, 210), (2, 84)]
    assert (uses[0].requests_per_minute, uses[0].tokens_per_minute) == (6000, 900_000)
    assert (uses[0].in_flight, uses[0].waiting, uses[0].paused_s) == (0, 0, 0)


async def test_requests_are_counted_by_job() -> None:
    """What is in flight is known for each job that sent it."""
    traffic, seen = Traffic(), list[int]()
    live = Live(traffic, list)

    async def answer(request: Request) -> Reply:
        seen.append(live.of_job("judge"))
        raise RuntimeError

    call = traffic.watched(answer)
    with pytest.raises(RuntimeError):
        await call(Request(to="judge", job="judge", characters=1))
    assert (seen, live.of_job("judge"), live.in_flight) == ([1], 0, 0)
