"""A budget that workers share, with workers killed in mid-request: the endpoint's own books never exceed the cap."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from test_clustered_run import begin, children, counters, ended, is_worker

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def paid(url: str) -> int:
    """The tokens of all answers, whoever heard them."""
    counted = counters(url)
    return int(counted["prompt_tokens"] + counted["completion_tokens"])


def kill_some(head: Popen[str], url: str, *, kills: int, chance: random.Random) -> int:
    """Kill workers while they have requests in flight, each some time after the last; returns how many."""
    killed, end = 0, time.monotonic() + 150
    while killed < kills and head.poll() is None and time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 0.6))
        workers = [child for child in children(head.pid) if is_worker(child)]
        if workers and counters(url)["in_flight"] > 2:
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
            time.sleep(chance.uniform(0.5, 2.0))
    return killed


def test_the_cap_holds_with_workers_killed(
    example_papers: Path, tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> None:
    """What was paid is within the cap though workers died with requests in flight; the run ends by the line of one process."""
    cap = 30_000
    url, run = simulate("--latency-mean-s", "0.5"), tmp_path / "run"
    config = configured(url)
    config.write_text(
        config.read_text("utf-8").replace(
            "chunk_size = 256\nchunk_overlap = 32", "chunk_size = 128\nchunk_overlap = 16"
        )
    )
    head = begin(example_papers, run, config, "--set", "cluster.workers=2", "--set", f"budget.tokens={cap}")
    killed = kill_some(head, url, kills=2, chance=random.Random(cap))
    code, said = ended(head)
    assert killed, said
    assert code == 1, said
    assert f"the budget of {cap} tokens is spent (" in said
    assert "raise budget.tokens in the configuration and run the same command again" in said
    assert paid(url) <= cap
    assert paid(url) >= cap / 8  # what the lost ones were allowed stays counted
