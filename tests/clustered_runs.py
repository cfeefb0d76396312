"""Whole runs with workers, as processes: begun, watched, ended, and what of their files must not depend on the workers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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


def ended(process: subprocess.Popen[str], timeout_s: float = 200) -> tuple[int, str]:
    _, said = process.communicate(timeout=timeout_s)
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


def handed_out(run: Path, dataset: str = "*") -> bool:
    """Whether a worker has a shard of the dataset: the head begins, and hands none out before the first worker is ready."""
    for path in run.glob(f"{dataset}/*.checkpoint.jsonl"):
        with suppress(FileNotFoundError):  # sealed in the meantime
            if b'"fence":' in path.read_bytes():
                return True
    return False


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended too soon"
        assert time.monotonic() < end
        time.sleep(0.02)
