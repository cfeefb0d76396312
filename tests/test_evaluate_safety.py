"""A mistake in ``gristmill evaluate`` leaves a finished run as it was, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port

from jobs.cli.main import main

GOES_ON = {"run.log", "run.lock"}
"""What is written whenever a run is opened, and is no result."""


def bytes_of(run: Path) -> dict[str, bytes]:
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in GOES_ON)
    return {str(path.relative_to(run)): path.read_bytes() for path in files if "sqlite3" not in path.name}


@pytest.fixture
def finished(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> Path:
    run, config = tmp_path / "run", str(configured(simulate()))
    assert main(["run", str(example_papers), "--out", str(run), "--config", config]) == 0
    return run


def test_a_mistake_changes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong model, address, metric, key or name ends in one line and code 1; settings, results and shards stay."""
    before = bytes_of(finished)
    for flags in (
        ["--model", "x=nomodel"],
        ["--model", f"x=simulated-chat@http://127.0.0.1:{unused_port()}/v1"],
        ["--set", 'evaluate.metrics=["rouge_x"]'],
        ["--set", "evaluate.sample=0"],
        ["--set", "evaluate.smaple=9"],
        ["--drop-model", "nobody"],
    ):
        capsys.readouterr()
        assert main(["evaluate", str(finished), *flags]) == 1, flags
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gristmill:")]
        assert len(said) == 1, said
        assert bytes_of(finished) == before, flags
    assert main(["evaluate", str(finished)]) == 0
    assert bytes_of(finished)["run.toml"] == before["run.toml"]
