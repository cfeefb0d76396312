"""A run that an earlier release began, kept as an archive, goes on under this one and ends with the same bytes.

The archive was made by the release before the jobs moved into packages, killed in `answer` with one shard open. The
checksums are those of the datasets as that release itself finished them, with and without the kill.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pymupdf
import pytest

from jobs.api import run_pipeline
from jobs.cli.main import main
from jobs.parsing.cleaning import CLEANING_VERSION
from jobs.run.folder import RunFolder

pytestmark = pytest.mark.processes

DATA = Path(__file__).parent / "data"
PORT = "http://127.0.0.1:8123/v1"
"""The address that the run was begun with; an address is no part of what rows mean."""


def begun_before(folder: Path, url: str) -> Path:
    with tarfile.open(DATA / "made-before.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    run = folder / "made-before"
    settings = (run / "run.toml").read_text("utf-8")
    assert PORT in settings
    (run / "run.toml").write_text(settings.replace(PORT, url), "utf-8")
    return run


def test_a_run_begun_before_ends_with_the_same_bytes(
    tmp_path: Path, simulate: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file of every dataset has the checksum that the earlier release gave it; some answers were refused then too."""
    run = begun_before(tmp_path, simulate("--seed", "7", "--fault-filter", "0.05", "--fault-sticky", "1"))
    expected = json.loads((DATA / "made-before.json").read_text("utf-8"))
    assert not (run / "pairs" / "00000.done.json").exists(), "the archive holds a run that was killed in the middle"
    # Not tried first: what the endpoint refuses is drawn by the words, and the trial's are new each time.
    assert main(["evaluate", str(run), "--no-preflight"]) == 3, capsys.readouterr().err
    found = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in expected}
    assert found == expected


async def test_a_run_begun_before_is_raised(tmp_path: Path, simulate: Callable[..., str]) -> None:
    """What an earlier release asked stays and counts; only the difference is asked for."""
    run = begun_before(tmp_path, simulate())
    await run_pipeline(out=run, settings=None)
    names = ("questions", "pairs", "curated", "examples")
    shards = [run / name / f"0000{shard}.jsonl" for name in names for shard in range(2)]
    before = {path: path.read_bytes() for path in shards}
    table = RunFolder(run).table()
    table["ask"]["max_questions"] += 5
    result = await run_pipeline(out=run, settings=table)
    asked = [json.loads(line) for path in shards[:2] for line in path.read_bytes().splitlines()]
    assert sum("raised" in row for row in asked) == 5
    assert result.jobs["ask"].rows == len(asked)
    assert all(path.read_bytes().startswith(old) for path, old in before.items())


def test_new_papers_are_refused_beside_chunks_of_an_earlier_release(
    tmp_path: Path, simulate: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the remedy, and no chunk of the run changes."""
    run = begun_before(tmp_path, simulate())
    chunks = {path.name: path.read_bytes() for path in (run / "chunks").iterdir()}
    paper = tmp_path / "paper.pdf"
    with pymupdf.open() as document:
        document.new_page().insert_textbox((72, 72, 500, 700), "A new paper that says a little. " * 20)
        document.save(paper)
    assert main(["run", str(paper), "--out", str(run), "--until", "parse"]) == 1
    told = capsys.readouterr().err
    assert "--redo parse" in told
    assert f"cleaning was 2, is {CLEANING_VERSION}" in told
    assert {path.name: path.read_bytes() for path in (run / "chunks").iterdir()} == chunks
