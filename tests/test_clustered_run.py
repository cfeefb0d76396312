"""The whole pipeline with workers, as processes, against a simulated endpoint: the bytes of one process, whatever dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.slow]

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def rows_of(run: Path) -> dict[str, str]:
    """The checksum of each file that must not depend on how many processes worked on the run."""
    names = (
        "papers chunks questions pairs index probes curated examples responses similarities verdicts dataset".split()
    )
    files = [path for name in names for path in (run / name).iterdir() if path.is_file() and path.suffix != ".sqlite3"]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def begin(papers: Path, run: Path, config: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs", "run", str(papers), "--out", str(run), "--config", str(config), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=200)
    return process.returncode, said


def counters(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/counters") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def children(process: int) -> list[int]:
    return [int(name) for name in Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()]


def is_worker(process: int) -> bool:
    return b"jobs.cluster.child" in Path(f"/proc/{process}/cmdline").read_bytes()


def events(run: Path) -> Iterator[dict[str, Any]]:
    for line in (run / "run.log").read_text("utf-8").splitlines():
        yield json.loads(line)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended too soon"
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_a_kill_a_stop_and_one_process(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Begun with one process, gone on with two of which one is killed and all are stopped, ended by one: the same bytes."""
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
    wait_for(lambda: any((many / "questions").glob("*.checkpoint.jsonl")), head)
    victim = next(child for child in children(head.pid) if is_worker(child))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: any((many / "pairs").glob("*.checkpoint.jsonl")), head)
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
