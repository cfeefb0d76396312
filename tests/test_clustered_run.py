"""The whole pipeline with workers, as processes, against a simulated endpoint: the bytes of one process, whatever dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from clustered_runs import (
    Configured,
    Simulate,
    begin,
    children,
    counters,
    ended,
    events,
    handed_out,
    is_worker,
    rows_of,
    wait_for,
)

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_workers_kills_a_stop_and_one_process(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Begun with one process, gone on with two that are killed, replaced and stopped, ended by one: the same bytes."""
    url = simulate("--latency-mean-s", "0.2")
    config = configured(url, "[parse]\npapers_per_shard = 1\nchunk_size = 128\nchunk_overlap = 16\nworkers = 1\n")
    config.write_text(
        config.read_text("utf-8").replace("[parse]\nchunk_size = 256\nchunk_overlap = 32\nworkers = 1\n", "")
    )
    one, many = tmp_path / "one", tmp_path / "many"
    assert ended(begin(example_papers, one, config))[0] in (0, 3)
    once = counters(url)["answered"]

    assert ended(begin(example_papers, many, config, "--until", "parse"))[0] in (0, 3)
    head = begin(example_papers, many, config, "--set", "cluster.workers=2")
    wait_for(lambda: handed_out(many), head)
    for victim in filter(is_worker, children(head.pid)):
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: handed_out(many, "pairs"), head)
    workers = [child for child in children(head.pid) if is_worker(child)]
    head.send_signal(signal.SIGINT)
    code, said = ended(head)
    assert code == 130, said
    assert "finished and saved" in said
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert any("its shards are handed out again" in event.get("text", "") for event in events(many))

    assert ended(begin(example_papers, many, config, "--set", "cluster.workers=0"))[0] in (0, 3)
    assert rows_of(many) == rows_of(one)
    assert counters(url)["answered"] <= 2 * once + 64  # what was in flight at the kill
