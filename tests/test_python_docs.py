"""The code in docs/python.md, run as a notebook runs it."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from jobs import BadInput, RunResult
from jobs.simulator import Simulation, running

pytestmark = pytest.mark.processes

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
CELLS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


async def execute(cell: str, names: dict[str, Any]) -> None:
    """Run one cell; `await` works at its top."""
    done = eval(compile(cell, "docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(done):
        await done


async def test_the_page(
    example_papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every cell runs, one after the other, and leaves what the page says."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(example_papers, tmp_path / "papers")
    names: dict[str, Any] = {}
    results: list[RunResult] = []
    async with running(Simulation(latency_mean_s=0.01, latency_sigma=0)) as endpoint:
        for cell in CELLS:
            await execute(cell.replace("http://127.0.0.1:8000/v1", endpoint.base_url), names)
            results.append(names["result"])
    first, _, stopped, _, own = results
    assert (first.stopped, first.failed, first.path) == (False, 0, Path("run"))
    assert [row.name for row in first.table] == ["base, validation", "base, training"]
    assert stopped.stopped
    assert stopped.jobs["ask"].inputs >= 3
    assert own.jobs["summarise"].rows == own.jobs["parse"].rows > 0
    assert own.usage.requests == first.usage.requests + own.jobs["summarise"].usage.requests
    assert "there is no file or folder no-such-folder" in capsys.readouterr().out
    with pytest.raises(BadInput, match="is not a run yet"):
        await names["run_pipeline"](out="third-run")


def test_the_job_is_short() -> None:
    """One's own job takes no more than twenty lines of code."""
    (cell,) = [cell for cell in CELLS if "Job(" in cell]
    job = cell.partition("result =")[0]
    assert len([line for line in job.splitlines() if line.strip()]) <= 20
