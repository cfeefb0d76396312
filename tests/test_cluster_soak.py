"""Workers of the whole pipeline, as processes, killed, frozen and thawed, with their head too: the bytes of one process.

What is printed: rows lost and doubled, what was paid twice and what was in flight at the kills, and how often what happened.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from test_clustered_run import begin, children, counters, ended, is_worker, rows_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

IN_FLIGHT = 32
ROLES = ("generator", "base", "judge", "embedding")
ENDPOINT = ("--seed", "1", "--latency-mean-s", "0.4", "--latency-sigma", "0.5")
SETTINGS = [
    argument
    for setting in (
        *(f"models.{role}.max_concurrency={IN_FLIGHT}" for role in ROLES),
        *(f"models.{role}.requests_per_minute=60000" for role in ROLES),
        "models.embedding.batch_size=1",
        "parse.chunk_size=64",
        "parse.chunk_overlap=8",
        "parse.papers_per_shard=1",
        "evaluate.sample=40",
        "curate.critic=true",
    )
    for argument in ("--set", setting)
]
LOST_S = 26.0
"""After so long a frozen worker has been taken for lost, and its shards are at another one."""


def workers_of(head: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [child for child in children(head) if is_worker(child)]
    return []


class Trouble:
    """What happens to one run: kills of workers, of the head, and freezes."""

    def __init__(self, random: Random, *, heads: int, kills: int, freezes: int) -> None:
        self.happened = Counter[str]()
        self._random = random
        self._left = ["head"] * heads + ["worker"] * kills + ["freeze"] * freezes
        random.shuffle(self._left)

    def strike(self, head: Any) -> None:
        """Wait a moment, then do the next."""
        time.sleep(self._random.uniform(1.0, 4.0))
        workers = workers_of(head.pid)
        if head.poll() is not None or not workers:
            return
        what = self._left.pop()
        self.happened[what] += 1
        victim = self._random.choice(workers)
        if what == "head":
            head.kill()
            head.communicate()
            return
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL if what == "worker" else signal.SIGSTOP)

    @property
    def left(self) -> bool:
        return bool(self._left)


@pytest.mark.parametrize(("workers", "heads", "kills", "freezes"), [(1, 1, 3, 0), (2, 2, 6, 1), (8, 1, 12, 1)])
def test_workers_and_heads_are_killed(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    workers: int,
    heads: int,
    kills: int,
    freezes: int,
) -> None:
    """1, 2 and 8 workers, killed and frozen at random, and their head killed: the same bytes, only what was in flight
    is paid again."""
    url, one = simulate(*ENDPOINT), tmp_path / "one"
    config = configured(url)
    assert ended(begin(example_papers, one, config, *SETTINGS))[0] in (0, 3)
    expected, alike = rows_of(one), counters(url)["answered_twice"]

    url, many = simulate(*ENDPOINT), tmp_path / "many"
    config.write_text(configured(url).read_text("utf-8"), "utf-8")
    trouble, in_flight = Trouble(Random(workers), heads=heads, kills=kills, freezes=freezes), 0
    arguments = (*SETTINGS, "--set", f"cluster.workers={workers}")
    while True:
        head = begin(example_papers, many, config, *arguments)
        while head.poll() is None and trouble.left:
            before = sum(trouble.happened.values())
            trouble.strike(head)
            if sum(trouble.happened.values()) > before:
                in_flight += counters(url)["in_flight"] + IN_FLIGHT // 2  # and those whose answer was not committed yet
        code, said = ended(head)
        if code in (0, 3):
            break
        assert code == -signal.SIGKILL, said
    assert rows_of(many) == expected
    counted = counters(url)
    twice = counted["answered_twice"] - alike
    with capsys.disabled():
        print(f"\n{workers} workers: {dict(trouble.happened)}; paid twice {twice} of {counted['answered']}", end="")
        print(f", at most {in_flight} in flight at the kills; the same bytes")
    assert trouble.happened["worker"]
    assert twice <= in_flight


def test_a_budget_with_workers_that_are_killed(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was paid never exceeds the cap, with workers that die in the middle of requests."""
    url = simulate(*ENDPOINT)
    cap, killed = 60_000, 0
    arguments = (*SETTINGS, "--set", "cluster.workers=3", "--set", f"budget.tokens={cap}", "--no-preflight")
    head, random = begin(example_papers, tmp_path / "run", configured(url), *arguments), Random(0)
    while head.poll() is None:
        time.sleep(random.uniform(2.0, 5.0))
        if killed < 4 and counters(url)["answered"] and (workers := workers_of(head.pid)):
            with suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
                killed += 1
    code, said = ended(head)
    counted = counters(url)
    paid = counted["prompt_tokens"] + counted["completion_tokens"]
    with capsys.disabled():
        print(f"\na cap of {cap} tokens, {killed} workers killed: {paid} paid, {paid / cap:.1%}")
    assert code == 1
    assert "budget of 60000 tokens is spent" in said
    assert killed
    assert paid <= cap


def test_a_worker_thaws_after_its_shards_were_taken_over(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped past its lease, taken over and continued, a worker on this machine is dead: it sends and writes nothing."""
    url = simulate(*ENDPOINT)
    one, many, config = tmp_path / "one", tmp_path / "many", configured(url)
    assert ended(begin(example_papers, one, config, *SETTINGS))[0] in (0, 3)
    head = begin(example_papers, many, config, *SETTINGS, "--set", "cluster.workers=2")
    frozen: list[int] = []
    while head.poll() is None:
        time.sleep(0.2)
        if not frozen and any((many / "questions").glob("*.checkpoint.jsonl")) and (workers := workers_of(head.pid)):
            frozen.append(workers[0])
            os.kill(workers[0], signal.SIGSTOP)
            time.sleep(LOST_S)
            with suppress(ProcessLookupError):
                os.kill(workers[0], signal.SIGCONT)
    assert ended(head)[0] in (0, 3)
    assert frozen
    assert "its shards are handed out again" in (many / "run.log").read_text("utf-8")
    assert rows_of(many) == rows_of(one)
    with capsys.disabled():
        print(f"\nfrozen for {LOST_S:.0f} s, replaced and thawed: the same bytes")
