"""`gristmill bench`: how much an endpoint answers at each concurrency, and the setting that this suggests.

Every request is sent once, without retries: what an endpoint refuses is part of what it can do. Without an address
the simulated endpoint answers, in a process of its own, and the figures are the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from engine.errors import Permanent, Transient
from engine.requests import Usage
from engine.shards import total
from jobs.chat import chat
from jobs.config import Model, api_key
from jobs.endpoint import Endpoint

__all__ = ["Load", "bench", "knee", "simulated"]

_PROMPT = (
    "In one paragraph, explain point {number} of a list: why does a program that appends to a journal sync the rows "
    "before the line that promises them, and what does it do with a torn last line after a crash?"
)
_ENOUGH = 0.95


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one concurrency: answers and tokens a second, latencies in seconds, errors by kind."""

    concurrency: int
    requests: int
    seconds: float
    requests_per_second: float
    tokens_per_second: float
    p50_s: float
    p95_s: float
    p99_s: float
    errors: dict[str, int]


async def bench(
    model: Model, *, concurrencies: Sequence[int], requests: int, max_tokens: int, show: Callable[[Load], None]
) -> list[Load]:
    """Send `requests` requests at each of `concurrencies`, or four a slot where that is more; one after another.

    `show` is handed each result as it comes. Raises `Fatal` for an address, a key or a model that cannot be used.
    """
    loads = []
    endpoint = Endpoint("bench", model, base_url=model.base_url, api_key=api_key(model, "bench"), name=model.model)
    async with endpoint:
        for round_, concurrency in enumerate(concurrencies):
            load = await _load(endpoint, concurrency, max(requests, 4 * concurrency), max_tokens, round_)
            show(load)
            loads.append(load)
    return loads


def knee(loads: Sequence[Load]) -> Load | None:
    """The least concurrency that gives almost all that any gave; None where nothing was answered."""
    best = max((load.requests_per_second for load in loads), default=0.0)
    return next((load for load in loads if best and load.requests_per_second >= _ENOUGH * best), None)


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """The base URL of a simulated endpoint that answers at once, in a process of its own."""
    command = [sys.executable, "-m", "jobs.cli", "simulate"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


async def _load(endpoint: Endpoint, concurrency: int, requests: int, max_tokens: int, round_: int) -> Load:
    latencies: list[float] = []
    usages: list[Usage] = []
    errors: Counter[str] = Counter()
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            prompt = _PROMPT.format(number=f"{round_}.{number}")
            began = time.perf_counter()
            try:
                reply = await endpoint(chat("bench", [{"role": "user", "content": prompt}], max_tokens=max_tokens))
            except (Permanent, Transient) as error:
                errors[error.kind] += 1
            else:
                latencies.append(time.perf_counter() - began)
                usages.append(reply.usage)

    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(client())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # they all say the same of the endpoint
    seconds = time.perf_counter() - began
    latencies.sort()
    paid = total(usages)
    return Load(
        concurrency=concurrency,
        requests=requests,
        seconds=round(seconds, 3),
        requests_per_second=round(len(latencies) / seconds, 2),
        tokens_per_second=round(paid.completion_tokens / seconds, 2),
        p50_s=_percentile(latencies, 0.50),
        p95_s=_percentile(latencies, 0.95),
        p99_s=_percentile(latencies, 0.99),
        errors=dict(errors),
    )


def _percentile(latencies: Sequence[float], share: float) -> float:
    return round(latencies[min(len(latencies) - 1, int(share * len(latencies)))], 4) if latencies else 0.0
