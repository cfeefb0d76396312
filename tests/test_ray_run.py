"""The whole pipeline with workers on a Ray cluster: the bytes of one process, whatever dies."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from clustered_runs import (
    Configured,
    Simulate,
    begin,
    counters,
    ended,
    events,
    handed_out,
    marked_workers,
    rows_of,
    wait_for,
)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

ON_RAY = ("--set", "cluster.workers=2", "--set", "cluster.engine=ray")
SMALL = "[ask]\nmax_questions = 60\n"
SLOWLY = ("--set", "models.generator.max_concurrency=1")
"""Ray takes 10 to 20 s to start, and the head works meanwhile: it must not have done all."""
PARSE = "[parse]\nchunk_size = 256\nchunk_overlap = 32\nworkers = 1\n"


def test_ray_kills_and_one_process(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun with two workers on Ray, which are killed and replaced, then stopped, and ended by one process: the same bytes."""
    monkeypatch.setenv("GRISTMILL_TEST_OF", str(tmp_path))  # Ray's processes inherit it, and so do workers
    url = simulate("--latency-mean-s", "0.5")
    config = configured(url, SMALL)
    config.write_text(config.read_text("utf-8").replace(PARSE, PARSE + "papers_per_shard = 1\n"), "utf-8")
    one, many = tmp_path / "one", tmp_path / "many"
    assert ended(begin(example_papers, one, config))[0] in (0, 3)
    once = counters(url)["answered"]

    head = begin(example_papers, many, config, *ON_RAY, *SLOWLY)
    wait_for(lambda: handed_out(many), head)
    for victim in marked_workers(str(tmp_path)):
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: any("its shards are handed out again" in event.get("text", "") for event in events(many)), head)
    head.send_signal(signal.SIGINT)
    code, said = ended(head)
    assert code == 130, said
    assert not marked_workers(str(tmp_path))

    assert ended(begin(example_papers, many, config))[0] in (0, 3)
    assert rows_of(many) == rows_of(one)
    assert counters(url)["answered"] <= 2 * once + 64  # what was in flight at the kill


def test_a_ray_that_is_not_there(
    tmp_path: Path, example_papers: Path, configured: Configured, simulate: Simulate
) -> None:
    address = ("--set", "cluster.address=127.0.0.1:1")
    run = begin(example_papers, tmp_path / "run", configured(simulate()), *ON_RAY, *address)
    code, said = ended(run)
    assert code == 1
    assert "check cluster.address" in said.splitlines()[-1]
