"""A user's folder with packages that are called as ours are, and files that are called as Python's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from engine.workers import Workers
from jobs.bench.bench import simulated
from jobs.models import llama_server
from jobs.parsing.parse import WARM_UP
from jobs.tuning.lora import tune

pytestmark = pytest.mark.processes

HOSTILE = 'raise SystemExit("this is the user\'s own")\n'


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("jobs", "engine", "nltk", "pip"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(HOSTILE, "utf-8")
        (tmp_path / name / "__main__.py").write_text(HOSTILE, "utf-8")
    for name in ("json", "signal", "runpy", "pickle"):
        (tmp_path / f"{name}.py").write_text(HOSTILE, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_simulated_endpoint() -> None:
    """`gristmill bench` starts our simulator there."""
    with simulated() as url, urllib.request.urlopen(url.removesuffix("/v1") + "/counters") as answer:
        assert answer.status == 200


def test_bench() -> None:
    """The whole command, as a user starts it in such a folder."""
    command = [sys.executable, "-P", "-m", "jobs", "bench", "--concurrency", "1", "--requests", "2", "--json", "-"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_the_processes_that_parse() -> None:
    """Papers are read by our code."""
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        assert await workers.run(abs, -1) == 1


async def test_the_server_of_a_local_model() -> None:
    """Our module is started: it ends in peace when its settings never come."""
    with TemporaryFile() as log:
        process = await llama_server._spawn(log)
        await process.communicate(b"")
        log.seek(0)
        assert (process.returncode, log.read()) == (0, b"")


async def test_the_process_that_trains() -> None:
    """So it is with the process that tunes."""
    with TemporaryFile() as log:
        async with tune._child(log) as process:
            await asyncio.wait_for(process.communicate(b""), 60)
        log.seek(0)
        assert (process.returncode, log.read()) == (0, b"")
