"""`gristmill bench`: what it measures adds up, and what it recommends follows from it."""

from __future__ import annotations

import json

import pytest

from engine.testing import simulated_endpoint
from jobs.bench import Load, bench, knee
from jobs.cli import main
from jobs.config import Model


def load(concurrency: int, answers: float) -> Load:
    return Load(
        concurrency=concurrency,
        requests=8,
        seconds=1.0,
        requests_per_second=answers,
        tokens_per_second=0.0,
        p50_s=0.1,
        p95_s=0.1,
        p99_s=0.1,
        errors={},
    )


async def test_every_request_is_answered_or_counted_as_an_error() -> None:
    """At each concurrency all requests are sent once, no more are in flight than asked for, and refusals are counted."""
    shown: list[Load] = []
    async with simulated_endpoint(latency_mean_s=0.01, fault_500=0.3, fault_sticky=1.0) as server:
        model = Model(model="simulated-chat", base_url=server.base_url, api_key_env="")
        loads = await bench(model, concurrencies=[1, 4], requests=20, max_tokens=512, show=shown.append)
        assert server.counters.most_in_flight == 4
        answered, failed = server.counters.answered, server.counters.faults["500"]
    assert loads == shown
    assert [load.concurrency for load in loads] == [1, 4]
    assert sum(load.errors.get("server_error", 0) for load in loads) == failed > 0
    assert answered + failed == 40
    assert all(0 < load.p50_s <= load.p95_s <= load.p99_s for load in loads)


def test_the_knee_is_the_least_concurrency_that_gives_nearly_all() -> None:
    """More requests in flight are not recommended where they give a few percent, and nothing where nothing came."""
    found = knee([load(1, 10), load(4, 39), load(16, 96), load(64, 100)])
    assert found is not None
    assert found.concurrency == 16
    assert knee([load(1, 0)]) is None


def test_an_address_without_a_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection ends the benchmark with one line and exit code 1."""
    assert main(["bench", "--base-url", "http://127.0.0.1:9/v1", "--json"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_simulated_endpoint_is_measured_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an address the figures are those of the engine against its own endpoint."""
    assert main(["bench", "--concurrency", "2", "--requests", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["loads"][0]["requests"] == 8
    assert told["max_concurrency"] == 2
