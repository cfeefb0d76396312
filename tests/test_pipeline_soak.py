"""The whole pipeline under random kills; long, so `make soak` runs it and `make test` does not."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_pipeline import counters, snapshot

from jobs.cli import main

KILLS = 60
IN_FLIGHT = 64


@pytest.mark.soak
def test_kills_at_random_times(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed again and again at random times, the run ends with the undisturbed bytes, and little was paid twice."""
    flags = ("--latency-mean-s", "0.5", "--latency-sigma", "1")
    limits = [f"models.{role}.max_concurrency={IN_FLIGHT}" for role in ("generator", "base", "judge", "embedding")]
    settings = [
        part for limit in (*limits, "parse.chunk_size=96", "parse.chunk_overlap=8") for part in ("--set", limit)
    ]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    config = configured(simulate(*flags))
    assert main(["run", str(example_papers), "--out", str(undisturbed), "--config", str(config), *settings]) == 0
    url = simulate(*flags)
    config = configured(url)
    command = [sys.executable, "-m", "jobs.cli", "run", str(example_papers), "--out", str(killed)]
    chance = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(
            [*command, "--config", str(config), *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.3, 3.5))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert main([*command[3:], "--config", str(config), *settings]) == 0
    assert snapshot(killed) == snapshot(undisturbed)
    counted = counters(url)
    assert counted["answered_twice"] <= kills * IN_FLIGHT
    with capsys.disabled():
        twice, asked = counted["answered_twice"], counted["answered"]
        print(f"\n{kills} kills of the whole pipeline: {asked} answers, {twice} of them paid twice; bytes are equal")
