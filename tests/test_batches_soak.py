"""The whole pipeline in a provider's batches: killed at every step on the disk and beside every request, and with faults.

The endpoint's counters say what was paid: a row of a batch by its custom id and body, any answer by its prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from killable_process import Lives
from ledger import Ledger
from test_pipeline import counters
from test_pipeline_soak import ROLES, SETTINGS, Deaths, Mill

IN_BATCHES = (*SETTINGS, *(f"models.{role}.batch=true" for role in ROLES), "models.generator.batch_rounds=9")
QUICK = ("--batch-validate-s", "0.02", "--batch-run-s", "0.05", "--batch-finalize-s", "0.02", "--seed", "1")
FAULTS = (
    *("--batch-expire", "0.3", "--batch-error", "0.1", "--batch-lost-answers", "0.5", "--batch-vanish", "0.1"),
    *("--batch-lost-inputs", "0.1", "--batch-lost-outputs", "0.1", "--batch-queue-tokens", "60000"),
)


@pytest.fixture
def lives() -> Iterator[Lives]:
    with Lives.begin() as begun:
        yield begun


@pytest.fixture
def fresh(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    lives: Lives,
) -> Callable[..., tuple[str, Mill]]:
    """A new run with an endpoint of its own: the URL of that, and the run."""

    def begin(name: str, *flags: str, settings: tuple[str, ...] = IN_BATCHES) -> tuple[str, Mill]:
        (tmp_path / name).mkdir()
        url = simulate(*QUICK, *flags)
        config = configured(url)
        return url, Mill(lives=lives, papers=example_papers, config=config, place=tmp_path / name, settings=settings)

    return begin


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_kills_at_every_step(fresh: Callable[..., tuple[str, Mill]], capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL at each step on the disk and beside each request: the bytes of the online run, and no row paid twice."""
    began, chance, runs, counted = time.monotonic(), Random(0), 0, list[dict[str, Any]]()
    _, online = fresh("online", settings=SETTINGS)
    assert online.live(Ledger())
    _, recorded = fresh("recorded")
    deaths = Deaths(recorded.steps())
    assert recorded.made() == online.made()
    while not all(deaths.at_steps.values()):
        url, mill = fresh(f"run{runs}")
        while deaths.one_more(mill, Ledger(), chance):
            pass
        assert mill.made() == online.made()
        counted.append(counters(url))
        assert counted[-1]["rows_answered_twice"] == 0
        runs += 1
    with capsys.disabled():
        print(f"\n{deaths.kills()}; in {runs} whole runs {paid(counted)}; {time.monotonic() - began:.0f} s")


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_kills_beside_requests(fresh: Callable[..., tuple[str, Mill]]) -> None:
    """SIGKILL before and after each kind of request, in one run: the bytes of the online run, and no row paid twice."""
    _, online = fresh("online", settings=SETTINGS)
    assert online.live(Ledger())
    url, mill = fresh("killed")
    for step in ("after upload", "before create", "after create", "before download", "after download"):
        assert not mill.live(Ledger(), mill.plan(steps=[step]))
    assert mill.live(Ledger())
    assert mill.made() == online.made()
    assert counters(url)["rows_answered_twice"] == 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_faults(fresh: Callable[..., tuple[str, Mill]], capsys: pytest.CaptureFixture[str]) -> None:
    """Rows expire and fail, answers to creations are lost, batches and files vanish, the queue is full: all rows valid.

    What had succeeded is not asked again, but for rows whose file of results nobody could fetch.
    """
    _, online = fresh("online", settings=SETTINGS)
    assert online.live(Ledger())
    url, mill = fresh("faulty", *FAULTS)
    assert mill.live(Ledger())
    assert mill.made() == online.made()
    found = counters(url)
    assert 0 <= found["rows_answered_twice"] <= found["batch_rows_lost"]
    assert found["batch_rows_expired"]
    assert found["batch_rows_failed"]
    with capsys.disabled():
        print(f"\n30 % of rows expire, 10 % fail, every second answer to a creation is lost: {paid([found])}")


def paid(counted: list[dict[str, Any]]) -> str:
    """What the endpoints have counted, in words."""
    batches = sum(each["batches"].get("created", 0) for each in counted)
    rows = sum(each["answers_by_row"] for each in counted)
    twice = sum(each["rows_answered_twice"] for each in counted)
    alone = sum(each["answered"] for each in counted) - rows
    lost = sum(each["batch_rows_lost"] for each in counted)
    return (
        f"{batches} batches, {rows} rows answered, {twice} of them paid twice ({lost} in files that vanished), "
        f"{alone} requests by themselves"
    )
