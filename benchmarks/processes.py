"""The simulated endpoint and the clients, each in a process of its own, on a core of its own where there are two."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from work import Outcome, Settings

__all__ = [
    "Busy",
    "Counted",
    "Deferral",
    "Ground",
    "Measured",
    "Watched",
    "counted_by",
    "grinding",
    "looking",
    "said_by",
    "simulated",
    "stubbed",
    "watched",
    "work_of",
]

_HERE = Path(__file__).resolve().parent


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What the endpoint counted; its /counters has more."""

    requests: dict[str, int]
    answered: int
    rejected: int
    charged_tokens: int
    most_in_flight: int
    answered_twice: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One client's work, by its own clocks and by the endpoint's counters."""

    outcome: Outcome
    counted: Counted

    @property
    def cpu_ms(self) -> float:
        """CPU time of the client for each request of the work, in milliseconds."""
        outcome = self.outcome
        return 1000 * outcome.cpu_s / (outcome.valid + outcome.bad + outcome.lost)


def work_of(
    client: str,
    *,
    simulation: dict[str, Any] | None,
    python: Path | str = sys.executable,
    beside: Sequence[Path] = (),
    **given: Any,
) -> Measured:
    """Start an endpoint with the fields of `simulation`, let ``floor``, ``mill`` or a rival do the work, and stop both.

    Where that is None the endpoint is that of canned.py, which answers at once and costs next to nothing. `python` is
    the interpreter of the client: a rival has an environment of its own. ``beside`` are folders of more packages.
    """
    with simulated(simulation) as base_url, tempfile.TemporaryDirectory() as folder:
        settings = msgspec.json.encode(Settings(base_url=base_url, folder=folder, **given)).decode()
        outcome = msgspec.json.decode(said_by(client, settings, python=python, beside=beside), type=Outcome)
        return Measured(outcome=outcome, counted=counted_by(base_url))


def counted_by(base_url: str) -> Counted:
    """What the simulated endpoint has counted until now."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/counters") as answer:
        return msgspec.json.decode(answer.read(), type=Counted)


@contextmanager
def looking(base_url: str) -> Iterator[list[float]]:
    """When the endpoint has had its first request, to 20 ms; known at the end."""
    seen, ended = list[float](), threading.Event()

    def look() -> None:
        while not seen and not ended.wait(0.02):
            if counted_by(base_url).requests.get("chat"):
                seen.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def said_by(
    program: str,
    *arguments: str,
    python: Path | str = sys.executable,
    beside: Sequence[Path] = (),
    core: int | None = 0,
    **variables: str,
) -> bytes:
    """The last line that a program of this folder prints, run in a process of its own; raises when it fails.

    It has one `core`, as a client whose CPU time is compared, or where that is None all of ours.
    """
    command = [str(python), str(_HERE / f"{program}.py"), *arguments]
    path = os.pathsep.join(map(str, [_HERE, _HERE.parent, *beside]))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    with (
        tempfile.TemporaryFile() as complaints,  # a pipe would have to be read, and a terminal be drawn on
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, env=environment) as process,
    ):
        if core is not None:
            _pin(process.pid, core)
        said, _ = process.communicate()
        if process.returncode:
            complaints.seek(0)
            end = complaints.read()[-2000:].decode(errors="replace")
            raise SystemExit(f"{program}.py ended with {process.returncode}: {end}")
    return said.splitlines()[-1]


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """When a job was at work, from the start of the process: the first and the last instant, and the seconds between

    in which it really was."""

    first_s: float
    last_s: float
    seconds: float


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run: its exit code, its time from the start of the process, and each job's time and requests."""

    code: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    busy: dict[str, Busy]
    requests: dict[str, int]


def watched(papers: Path, out: Path, base_url: str, *arguments: str) -> Watched:
    """`gristmill run` on `papers` with all four roles at `base_url`."""
    models = {"generator": "simulated-chat", "base": "simulated-chat", "judge": "simulated-chat"}
    settings = [
        f"--set=models.{role}.{name}={value}"
        for role, model in {**models, "embedding": "simulated-embedding"}.items()
        for name, value in {"model": model, "base_url": base_url, "api_key_env": ""}.items()
    ]
    arguments = str(time.monotonic()), str(papers), "--out", str(out), *settings, *arguments
    said = said_by("watched", *arguments, core=None)
    return msgspec.json.decode(said, type=Watched)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What `grains.py` did, after its imports; ``first_s`` is when the first request was sent, from the start."""

    wall_s: float
    cpu_s: float
    first_s: float | None
    asked: int
    peak_rss_mb: float


class Deferral(msgspec.Struct, frozen=True, kw_only=True):
    """What `deferred.py` did, after its imports, and with how many batches."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    batches: int


@contextmanager
def grinding(records: int, *, core: int = 0) -> Iterator[Callable[..., Ground]]:
    """Tiny records in a folder; what it gives grinds them all, with `more` of them in new shards, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        shards = _grains(core, "fill", folder=folder, records=records)

        def grind(more: int = 0) -> Ground:
            nonlocal shards
            if more:
                shards = _grains(core, "fill", folder=folder, records=more, first_shard=int(shards))
            return msgspec.json.decode(_grains(core, "grind", folder=folder), type=Ground)

        yield grind


def _grains(core: int, do: str, **given: Any) -> bytes:
    return said_by("grains", msgspec.json.encode({"do": do, **given}).decode(), core=core)


@contextmanager
def simulated(simulation: dict[str, Any] | None) -> Iterator[str]:
    """The base URL of a simulated endpoint in its own process, or of a canned one."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (simulation or {}).items()]
    program = [str(_HERE / "canned.py")] if simulation is None else ["-m", "jobs", "simulate"]
    with _served(*program, *flags) as base_url:
        yield base_url


@contextmanager
def stubbed(*flags: str) -> Iterator[str]:
    """The base URL of `batch_stub.py` in its own process."""
    with _served(str(_HERE / "batch_stub.py"), *flags) as base_url:
        yield base_url


@contextmanager
def _served(*program: str) -> Iterator[str]:
    with subprocess.Popen([sys.executable, *program], stdout=subprocess.PIPE, text=True) as process:
        _pin(process.pid, 1)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _pin(process: int, place: int) -> None:
    """Keep a process to one of our cores, so that client and endpoint do not take turns on one."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(process, {cores[place]})
