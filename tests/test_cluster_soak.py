"""Workers of the whole pipeline, as processes, killed, frozen and thawed, with their head too: the bytes of one process.

What is printed: rows lost and doubled, what was paid twice and what was in flight at the kills, and how often what happened.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from random import Random

import pytest
from clustered_runs import Runs, Trouble, ended, handed_out, wait_for, workers_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

IN_FLIGHT = 32
ROLES = ("generator", "base", "judge", "embedding")
ENDPOINT = ("--seed", "1", "--latency-mean-s", "0.4", "--latency-sigma", "0.5")
SETTINGS = (
    *(f"models.{role}.max_concurrency={IN_FLIGHT}" for role in ROLES),
    *(f"models.{role}.requests_per_minute=60000" for role in ROLES),
    "models.embedding.batch_size=1",
    "parse.chunk_size=64",
    "parse.chunk_overlap=8",
    "parse.papers_per_shard=1",
    "evaluate.sample=40",
    "curate.critic=true",
)
LOST_S = 26.0
"""After so long a frozen worker has been taken for lost, and its shards are at another one."""


@pytest.mark.parametrize(("workers", "heads", "kills", "freezes"), [(1, 1, 3, 0), (2, 2, 6, 1), (8, 1, 12, 1)])
def test_workers_and_heads_are_killed(
    runs: Runs, capsys: pytest.CaptureFixture[str], workers: int, heads: int, kills: int, freezes: int
) -> None:
    """1, 2 and 8 workers, killed and frozen at random, and their head killed: the same bytes, only what was in flight
    is paid again."""
    runs.endpoint(*ENDPOINT)
    runs.end("one", *SETTINGS)
    alike = runs.counters()["answered_twice"]

    runs.endpoint(*ENDPOINT)
    trouble = Trouble(Random(workers), workers_of, heads=heads, kills=kills, freezes=freezes)
    in_flight = trouble.go_through(
        lambda: runs.begin("many", *SETTINGS, f"cluster.workers={workers}"),
        lambda: runs.counters()["in_flight"] + IN_FLIGHT // 2,  # and those whose answer was not committed yet
    )
    assert runs.rows("many") == runs.rows("one")
    counted = runs.counters()
    twice = counted["answered_twice"] - alike
    with capsys.disabled():
        print(f"\n{workers} workers: {dict(trouble.happened)}; paid twice {twice} of {counted['answered']}", end="")
        print(f", at most {in_flight} in flight at the kills; the same bytes")
    assert trouble.happened["worker"]
    assert twice <= in_flight


def test_a_budget_with_workers_that_are_killed(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """What was paid never exceeds the cap, with workers that die in the middle of requests."""
    runs.endpoint(*ENDPOINT)
    cap, killed = 60_000, 0
    head, random = runs.begin("run", *SETTINGS, "cluster.workers=3", f"budget.tokens={cap}"), Random(0)
    while head.poll() is None:
        time.sleep(random.uniform(2.0, 5.0))
        if killed < 4 and runs.counters()["answered"] and (workers := workers_of(head.pid)):
            with suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
                killed += 1
    code, said = ended(head)
    counted = runs.counters()
    paid = counted["prompt_tokens"] + counted["completion_tokens"]
    with capsys.disabled():
        print(f"\na cap of {cap} tokens, {killed} workers killed: {paid} paid, {paid / cap:.1%}")
    assert code == 1
    assert "budget of 60000 tokens is spent" in said
    assert killed
    assert paid <= cap


def test_a_worker_thaws_after_its_shards_were_taken_over(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped past its lease, taken over and continued, a worker on this machine is dead: it sends and writes nothing."""
    runs.endpoint(*ENDPOINT)
    runs.end("one", *SETTINGS)
    head = runs.begin("many", *SETTINGS, "cluster.workers=2")
    wait_for(lambda: handed_out(runs.folder / "many"), head)
    frozen = workers_of(head.pid)
    for worker in frozen:
        os.kill(worker, signal.SIGSTOP)
    time.sleep(LOST_S)
    for worker in frozen:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    assert ended(head)[0] in (0, 3)
    assert "its shards are handed out again" in (runs.folder / "many" / "run.log").read_text("utf-8")
    assert runs.rows("many") == runs.rows("one")
    with capsys.disabled():
        print(f"\nfrozen for {LOST_S:.0f} s, replaced and thawed: the same bytes")
