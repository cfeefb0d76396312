from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.requests import Usage
from jobs.cli import dry_run
from jobs.cli.estimate import together_s
from jobs.cli.main import main
from jobs.config import Config


@pytest.fixture
def corpus(tmp_path: Path, example_papers: Path) -> Path:
    """Twelve papers, as four copies of three."""
    folder = tmp_path / "papers"
    for number in range(4):
        shutil.copytree(example_papers, folder / str(number))
    return folder


def figures(said: str) -> tuple[int, int]:
    """The requests and the tokens of all jobs."""
    words = next(line for line in said.splitlines() if line.startswith("together")).replace(",", "").split()
    return int(words[3]), int(words[6])


def test_a_sample_of_many_papers(
    corpus: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many papers are estimated from some of them, about as from all, and nothing is left of it; all are kept if asked."""
    monkeypatch.setattr(dry_run, "SAMPLE", 6)
    run = tmp_path / "run"
    command = ["run", str(corpus), "--out", str(run), "--config", str(configured(simulate())), "--dry-run"]
    assert main([*command, "--set", "curate.near_duplicates=false"]) in (0, 3)
    said = capsys.readouterr().out
    assert "from 6 of 12 papers; --all-papers parses every one" in said
    assert "nothing was sent" in said
    assert not run.exists()
    requests, _ = figures(said)

    assert main([*command, "--all-papers", "--set", "curate.near_duplicates=false"]) in (0, 3)
    assert (run / "chunks").is_dir()
    exact, _ = figures(capsys.readouterr().out)
    assert 0 < exact <= 3 * requests  # copies of a paper are left out where they meet, in the sample too


def test_the_time_at_the_limits(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The estimate tells the least time at the configured limits, and says so where there are none."""
    config = str(configured(simulate()))
    command = ["run", str(example_papers), "--out", str(tmp_path / "run"), "--config", config, "--dry-run"]
    assert main([*command]) == 0
    said = capsys.readouterr().out
    assert "at least" not in said
    assert "no limits are configured, so the time is not known" in said
    assert main([*command, "--set", "models.generator.requests_per_minute=1"]) == 0
    said = capsys.readouterr().out
    assert ", at least 1 h " in said.split("together")[1]  # a question for each chunk, and its answer, one a minute
    assert "no limits" not in said


def test_models_that_share_a_limit() -> None:
    """Jobs that ask the same model add up; those of another run beside them."""
    shared = {"model": "m", "base_url": "http://one/v1", "requests_per_minute": 60.0, "tokens_per_minute": 1e6}
    config = Config.model_validate({"models": {"generator": shared, "base": shared, "judge": {**shared, "model": "j"}}})
    jobs = {"ask": Usage(requests=60), "answer": Usage(requests=120), "judge": Usage(requests=60)}
    assert together_s(config, jobs) == 180
    assert together_s(config, {**jobs, "judge": Usage(requests=600)}) == 600
    assert together_s(config, {"ask": Usage(requests=1, prompt_tokens=3_000_000)}) == 180
