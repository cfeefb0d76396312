"""Clocks that jump: what waits, counts or limits goes by the monotonic clock, and the wall clock only says the date."""

from __future__ import annotations

import ast
import asyncio
import random
import time

import pytest
from sources import sources

from engine.budget import Budget, budgeted
from engine.errors import Transient
from engine.limits import Limit, limited
from engine.requests import Call, Reply, Request, Usage
from engine.retries import RetryPolicy, retrying
from engine.virtualtime import run_virtual

WALL = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "datetime.now", "datetime.utcnow", "date.today"}
WANTED = {
    "jobs/models/openai/headers.py",  # a Retry-After that is a date, of a server that does not tell its own time
    "jobs/simulator/endpoint.py",  # its log, in which several processes are put in order
    "jobs/simulator/batches.py",  # when a batch was made, as providers say it
    "jobs/run/batches.py",  # the age of a batch, which outlives processes
    "jobs/cli/batch_progress.py",  # the same
    "jobs/cli/status.py",  # how long ago something was logged
    "jobs/serve/watch.py",  # the same
    "jobs/serve/committed.py",  # whether a folder has changed since it was listed, by its date
    "jobs/review/exchange.py",  # the date of a decision
    "jobs/serve/review_desk.py",  # the same
}


@pytest.mark.xdist_group("sources")
def test_who_asks_the_wall_clock() -> None:
    """No module asks for the time of day but those that tell or read dates."""
    asking = set()
    for module in sources("engine") + sources("jobs"):
        asked = [
            node.func for node in module.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        calls = {f"{_last(function.value)}.{function.attr}" for function in asked}
        from_time = [node for node in module.nodes if isinstance(node, ast.ImportFrom) and node.module == "time"]
        if calls & WALL or any(f"time.{alias.name}" in WALL for node in from_time for alias in node.names):
            asking.add(module.path)
    assert asking == WANTED


def _last(owner: ast.expr) -> str:
    """The last name of what a function is called on: "datetime" of ``datetime.datetime``."""
    return owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")


async def asked_at(calls: int) -> list[float]:
    """When each of so many requests went out, under limits, with rejections, pauses, retries and a budget."""
    loop, times = asyncio.get_running_loop(), []
    chance = random.Random(1)

    async def endpoint(request: Request) -> Reply:
        times.append(loop.time())
        await asyncio.sleep(chance.random())
        fault = chance.random()
        if fault < 0.1:
            raise Transient("429", kind="rate_limited", retry_after_s=2.0)
        if fault < 0.2:
            raise Transient("500", kind="server_error")
        return Reply(usage=Usage(requests=1, prompt_tokens=10, completion_tokens=5))

    limit = Limit(requests_per_minute=120, tokens_per_minute=6000, max_concurrency=8)
    sent = budgeted(limited(endpoint, limit), Budget(tokens=1_000_000))
    call = retrying(sent, RetryPolicy(), sleep=asyncio.sleep, hook=lambda event: None)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            body = Request(to="generator", characters=40, max_output_tokens=20)
            tasks.create_task(_answered(call, body))
    return times


async def _answered(call: Call, request: Request) -> None:
    await call(request)


def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits, pauses, retries and budgets send every request at the same instant, however the time of day jumps."""
    random.seed(7)
    steady = run_virtual(asked_at(100))
    jumps, true_time = random.Random(2), time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + jumps.uniform(-1e6, 1e6))
    random.seed(7)
    assert run_virtual(asked_at(100)) == steady
    assert len(steady) > 100
