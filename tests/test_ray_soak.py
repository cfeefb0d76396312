"""Workers on Ray that are killed, with their head too, and machines that go in the middle of a run: the bytes of one process,
and each input paid for once or in flight at a kill."""

from __future__ import annotations

import importlib.util
import signal
import time
from collections.abc import Iterator
from random import Random
from subprocess import Popen
from typing import Any

import pytest
from clustered_runs import Runs, Trouble, ended, events, handed_out, marked_workers, wait_for

pytestmark = [
    pytest.mark.soak,
    pytest.mark.processes,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

IN_FLIGHT = 16
ROLES = ("generator", "base", "judge", "embedding")
SLOW = ("--seed", "1", "--latency-mean-s", "1", "--latency-sigma", "0.5")
"""Workers of Ray need ten seconds or more, and the head works meanwhile: something has to be left for them."""
SETTINGS = (
    *(f"models.{role}.max_concurrency={IN_FLIGHT}" for role in ROLES),
    *(f"models.{role}.requests_per_minute=60000" for role in ROLES),
    "models.embedding.batch_size=1",
    "parse.chunk_size=128",
    "parse.chunk_overlap=16",
    "parse.papers_per_shard=1",
    "evaluate.sample=16",
)
MARK = "gristmill-ray-soak"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster on this machine; it outlives the heads of the runs."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRISTMILL_TEST_OF", MARK)  # its processes inherit it, and so do workers
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            yield cluster
        finally:
            cluster.shutdown()


def on_ray(cluster: Any, workers: int) -> tuple[str, ...]:
    return f"cluster.workers={workers}", "cluster.engine=ray", f"cluster.address={cluster.address}"


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), (2, 3), (8, 4)])
def test_workers_and_heads_are_killed(
    runs: Runs, cluster: Any, capsys: pytest.CaptureFixture[str], workers: int, kills: int
) -> None:
    """1, 2 and 8 workers, killed at random, and their head killed: the same bytes, only what was in flight is paid again."""
    runs.endpoint("--seed", "1")
    runs.end("one", *SETTINGS)
    alike = runs.counters()["answered_twice"]

    runs.endpoint(*SLOW)
    trouble = Trouble(Random(workers), lambda head: marked_workers(MARK), heads=1, kills=kills)
    in_flight = trouble.go_through(
        lambda: runs.begin("many", *SETTINGS, *on_ray(cluster, workers)),
        lambda: runs.counters()["in_flight"] + IN_FLIGHT // 2,
    )
    assert runs.rows("many") == runs.rows("one")
    counted = runs.counters()
    twice = counted["answered_twice"] - alike
    with capsys.disabled():
        print(f"\n{workers} on Ray: {dict(trouble.happened)}; paid twice {twice} of {counted['answered']}", end="")
        print(f", at most {in_flight} in flight at the kills; the same bytes")
    assert trouble.happened["worker"]
    assert trouble.happened["head"]
    assert twice <= in_flight


@pytest.mark.parametrize("seed", [0, 1])
def test_machines_that_go(runs: Runs, cluster: Any, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    """Two of three machines go, one after the other, each at a random moment; another comes."""
    runs.endpoint("--seed", "1")
    runs.end("one", *SETTINGS)
    alike = runs.counters()["answered_twice"]

    runs.endpoint(*SLOW)
    chance, gone = Random(seed), 0
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    fresh: list[Any] = []
    head = runs.begin("many", *SETTINGS, *on_ray(cluster, 3))
    wait_for(lambda: handed_out(runs.folder / "many"), head)
    for machine in machines:
        time.sleep(chance.uniform(0, 4))
        if head.poll() is not None:
            break
        cluster.remove_node(machine, allow_graceful=False)
        gone += 1
        fresh.append(cluster.add_node(num_cpus=1))
    code, said = ended(head, 600)
    for machine in fresh + machines[gone:]:  # the next test has as many
        cluster.remove_node(machine)
    assert code in (0, 3), said
    assert runs.rows("many") == runs.rows("one")
    counted = runs.counters()
    twice = counted["answered_twice"] - alike
    lost = sum("handed out again" in event.get("text", "") for event in events(runs.folder / "many"))
    with capsys.disabled():
        print(f"\n{gone} machines went, {lost} workers were lost; paid twice {twice} of {counted['answered']}")
    assert lost
    assert twice <= lost * len(ROLES) * IN_FLIGHT


def test_one_process_then_eight_then_ray_then_one(runs: Runs, cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A run is begun by one process, goes on with eight workers, is ended on Ray, and is begun again by one process: the same
    bytes, and nothing is asked twice."""
    runs.endpoint("--seed", "1")
    runs.end("one", *SETTINGS)
    alike = runs.counters()["answered_twice"]

    runs.endpoint(*SLOW)
    many, asked = runs.folder / "many", list[int]()

    def leave(head: Popen[str]) -> None:
        """Stop the run, whose work is not done."""
        head.send_signal(signal.SIGINT)
        code, said = ended(head)
        assert code == 130, said
        asked.append(runs.counters()["answered"])

    head = runs.begin("many", *SETTINGS)
    wait_for(lambda: any((many / "questions").glob("*.checkpoint.jsonl")), head)
    leave(head)
    head = runs.begin("many", *SETTINGS, "cluster.workers=8")
    wait_for(lambda: handed_out(many), head)
    leave(head)
    head = runs.begin("many", *SETTINGS, *on_ray(cluster, 2))
    wait_for(lambda: handed_out(many), head)
    assert ended(head, 600)[0] in (0, 3)
    asked.append(runs.counters()["answered"])
    assert runs.rows("many") == runs.rows("one")

    runs.end("many", *SETTINGS)
    assert runs.rows("many") == runs.rows("one")
    counted = runs.counters()
    with capsys.disabled():
        print(
            f"\none process, eight, Ray, one: {asked} answered after each; paid twice {counted['answered_twice'] - alike}"
        )
    assert 0 < asked[0] < asked[1] < asked[2] == counted["answered"]
    assert counted["answered_twice"] == alike
