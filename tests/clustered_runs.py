"""Whole runs with workers, as processes: begun, watched, ended, and what of their files must not depend on the workers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
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


class Runs:
    """Runs of the same papers, each of which may have an endpoint of its own."""

    def __init__(self, papers: Path, folder: Path, simulate: Simulate, configured: Configured) -> None:
        self.folder = folder
        self._papers = papers
        self._simulate = simulate
        self._configured = configured
        self._url = ""

    def endpoint(self, *flags: str) -> None:
        """Start an endpoint, which those that begin from now on ask."""
        self._url = self._simulate(*flags)

    def begin(self, run: str, *settings: str) -> subprocess.Popen[str]:
        """Begin the run of that name, or go on with it, with settings as in "cluster.workers=2"."""
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        return begin(self._papers, self.folder / run, self._configured(self._url), *arguments)

    def end(self, run: str, *settings: str) -> None:
        """Begin the run and wait for its end, at which all is done."""
        code, said = ended(self.begin(run, *settings), 600)
        assert code in (0, 3), said

    def rows(self, run: str) -> dict[str, str]:
        return rows_of(self.folder / run)

    def counters(self) -> dict[str, Any]:
        """What the last endpoint has counted."""
        return counters(self._url)


class Trouble:
    """What happens to one run: kills of workers, of the head, and freezes, in an order by chance."""

    def __init__(
        self,
        random: Random,
        workers_of: Callable[[int], list[int]],
        *,
        heads: int = 0,
        kills: int = 0,
        freezes: int = 0,
    ) -> None:
        self.happened = Counter[str]()
        self._random = random
        self._workers_of = workers_of
        self._left = ["head"] * heads + ["worker"] * kills + ["freeze"] * freezes
        random.shuffle(self._left)

    def go_through(self, begin: Callable[[], subprocess.Popen[str]], in_flight: Callable[[], int]) -> int:
        """Begin the run again and again until all is done; returns what was `in_flight` at the kills, added up."""
        flying = 0
        while True:
            head = begin()
            while head.poll() is None and self._left:
                if self._strike(head):
                    flying += in_flight()
            code, said = ended(head, 600)
            if code in (0, 3):
                return flying
            assert code == -signal.SIGKILL, said

    def _strike(self, head: subprocess.Popen[str]) -> bool:
        """Wait a moment, then do the next. Returns whether it was done: there may be no worker yet."""
        time.sleep(self._random.uniform(1.0, 4.0))
        workers = self._workers_of(head.pid)
        if head.poll() is not None or not workers:
            return False
        what = self._left.pop()
        victim = head.pid if what == "head" else self._random.choice(workers)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP if what == "freeze" else signal.SIGKILL)
            self.happened[what] += 1
        if what == "head":
            head.wait()
        return True


def workers_of(head: int) -> list[int]:
    """The worker processes of a head on this machine."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [child for child in children(head) if is_worker(child)]
    return []


def marked_workers(mark: str) -> list[int]:
    """The worker processes on this machine with `mark` in their environment: those that Ray has placed are no children of
    the head, and other tests may have some of their own."""
    numbers = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    workers = (number for number in numbers if b"jobs.cluster.child" in _told(number, "cmdline"))
    return [number for number in workers if mark.encode() in _told(number, "environ")]


def _told(process: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""  # it has ended


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
