"""Machines of a Ray cluster that go in the middle of a run: the bytes of one process, and each input paid for once or in
flight when its machine went."""

from __future__ import annotations

import importlib.util
import random
import time
from pathlib import Path

import pytest
from clustered_runs import Configured, Simulate, begin, counters, ended, events, rows_of, wait_for

pytestmark = [
    pytest.mark.soak,
    pytest.mark.processes,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

PARSE = "[parse]\nchunk_size = 256\nchunk_overlap = 32\nworkers = 1\n"
IN_FLIGHT = 64
"""At most, of one job at one worker."""


@pytest.mark.parametrize("seed", [0, 1])
def test_machines_that_go(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, seed: int
) -> None:
    """Two of three machines go, one after the other, each at a random moment; another comes."""
    from ray.cluster_utils import Cluster

    url, chance = simulate("--latency-mean-s", "2"), random.Random(seed)
    config = configured(url)
    small = PARSE.replace("256", "128").replace("32", "16") + "papers_per_shard = 1\n"
    config.write_text(config.read_text("utf-8").replace(PARSE, small), "utf-8")
    one, many = tmp_path / "one", tmp_path / "many"
    assert ended(begin(example_papers, one, config))[0] in (0, 3)
    once = counters(url)["answered"]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
        on_ray = (
            "--set",
            "cluster.workers=3",
            "--set",
            "cluster.engine=ray",
            "--set",
            f"cluster.address={cluster.address}",
        )
        head = begin(example_papers, many, config, *on_ray)
        gone = 0
        wait_for(lambda: any((many / "questions").glob("*.checkpoint.jsonl")), head)
        for machine in machines:
            time.sleep(chance.uniform(0, 4))
            if head.poll() is not None:
                break
            cluster.remove_node(machine, allow_graceful=False)
            gone += 1
            cluster.add_node(num_cpus=1)
        code, said = ended(head, 600)
    finally:
        cluster.shutdown()
    assert code in (0, 3), said
    assert rows_of(many) == rows_of(one)
    again = counters(url)["answered"] - 2 * once
    lost = sum("handed out again" in event.get("text", "") for event in events(many))
    print(f"{gone} machines went, {lost} workers were lost, {again} of {once} answers were paid for again")
    assert lost
    assert again <= lost * 3 * IN_FLIGHT
