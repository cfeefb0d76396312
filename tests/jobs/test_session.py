"""Opening a run: what is imported, started and written before its first request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.signals import Stop
from engine.workers import Workers
from jobs.run.folder import RunFolder
from jobs.session import opened
from jobs.work import Selection, prepare

HEAVY = (
    "engine.cluster.head aiohttp jinja2 lancedb llama_index nltk numpy openai pandas pyarrow pymupdf tiktoken".split()
)


@pytest.mark.processes
@pytest.mark.parametrize(("module", "heavy"), [("jobs.cli.working", HEAVY), ("jobs.api", [*HEAVY, "rich"])])
def test_a_run_begins_light(module: str, heavy: list[str]) -> None:
    """What a session needs is imported without what only some of its jobs use: the first request leaves soon."""
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Workers]:
    """The pools of processes that were told to begin."""
    pools: list[Workers] = []
    monkeypatch.setattr(Workers, "begin", lambda pool, children: pools.append(pool))
    return pools


async def test_a_child_begins_ahead_only_where_papers_are_new(
    example_papers: Path, tmp_path: Path, begun: list[Workers]
) -> None:
    """A new run starts its first child at once; one that is there may have nothing to parse, so it waits."""
    folder = RunFolder(tmp_path / "run")
    for expected in (1, 1):
        work = prepare(folder, [example_papers], selection=Selection(until="parse"))
        async with opened(work, stop=Stop(), hook=lambda event: None):
            assert folder.exists
        assert len(begun) == expected


async def test_nothing_is_written_before_all_is_checked(example_papers: Path, tmp_path: Path) -> None:
    """A certificate that is not there is found when the run is opened, and no folder is made."""
    models = {
        role: {"model": "m", "base_url": "https://127.0.0.1:9/v1", "api_key_env": "", "ca_file": "none.pem"}
        for role in ("generator", "base", "judge", "embedding")
    }
    folder = RunFolder(tmp_path / "run")
    work = prepare(folder, [example_papers], {"models": models})
    with pytest.raises(BadInput, match="ca_file"):
        async with opened(work, stop=Stop(), hook=lambda event: None):
            pytest.fail("it was opened")
    assert not folder.path.exists()
