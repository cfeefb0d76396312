"""The simulated endpoint and the clients, each in a process of its own, on a core of its own where there are two."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from work import Outcome, Settings

__all__ = ["Counted", "Ground", "Measured", "grinding", "simulated", "work_of"]

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


def work_of(client: str, *, simulation: dict[str, Any], python: Path | str = sys.executable, **given: Any) -> Measured:
    """Start an endpoint with the fields of `simulation`, let ``floor``, ``mill`` or a rival do the work, and stop both.

    `python` is the interpreter of the client: a rival has an environment of its own.
    """
    with simulated(simulation) as base_url, tempfile.TemporaryDirectory() as folder:
        settings = msgspec.json.encode(Settings(base_url=base_url, folder=folder, **given)).decode()
        command = [str(python), str(_HERE / f"{client}.py"), settings]
        environment = {**os.environ, "PYTHONPATH": str(_HERE)}
        complaints = Path(folder) / "stderr"  # a pipe would have to be read, and a terminal be drawn on
        with (
            complaints.open("wb") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment) as process,
        ):
            _pin(process.pid, 0)
            said, _ = process.communicate()
        if process.returncode:
            end = complaints.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{client}.py ended with {process.returncode}: {end}")
        with urllib.request.urlopen(base_url.removesuffix("/v1") + "/counters") as answer:
            counted = msgspec.json.decode(answer.read(), type=Counted)
    return Measured(outcome=msgspec.json.decode(said.splitlines()[-1], type=Outcome), counted=counted)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What `grains.py` did, after its imports; ``first_s`` is when the first request was sent, from the start."""

    wall_s: float
    cpu_s: float
    first_s: float | None
    asked: int
    peak_rss_mb: float


@contextmanager
def grinding(records: int) -> Iterator[Callable[..., Ground]]:
    """Tiny records in a folder; what it gives grinds them all, with `more` of them in new shards, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        shards = _grains("fill", folder=folder, records=records)

        def grind(more: int = 0) -> Ground:
            nonlocal shards
            if more:
                shards = _grains("fill", folder=folder, records=more, first_shard=int(shards))
            return msgspec.json.decode(_grains("grind", folder=folder), type=Ground)

        yield grind


def _grains(do: str, **given: Any) -> bytes:
    task = msgspec.json.encode({"do": do, **given}).decode()
    with subprocess.Popen([sys.executable, str(_HERE / "grains.py"), task], stdout=subprocess.PIPE) as process:
        _pin(process.pid, 0)
        said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"grains.py ended with {process.returncode}")
    return said


@contextmanager
def simulated(simulation: dict[str, Any]) -> Iterator[str]:
    """The base URL of a simulated endpoint in its own process."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in simulation.items()]
    command = [sys.executable, "-m", "jobs.cli", "simulate", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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
