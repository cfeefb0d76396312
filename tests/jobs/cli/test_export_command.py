from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.main import main

pytestmark = pytest.mark.processes


@pytest.fixture
def finished(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> Path:
    run, config = tmp_path / "run", str(configured(simulate()))
    assert (
        main(
            [
                "run",
                str(example_papers),
                "--out",
                str(run),
                "--config",
                config,
                "--until",
                "export",
                "--set",
                "parse.papers_per_shard=1",
            ]
        )
        == 0
    )
    return run


def test_an_unfinished_run_is_not_exported(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export of a run that lacks a shard says which job lacks it, writes nothing and fails; --partial takes the rest."""
    (finished / "examples" / "00000.done.json").unlink()
    capsys.readouterr()
    command = ["export", str(finished), "--format", "openai", "--to", str(tmp_path / "out")]

    assert main(command) == 1
    assert "is not finished: augment has done" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--partial"]) == 0
    whole = (finished / "dataset" / "train.jsonl").read_bytes().splitlines()
    assert set((tmp_path / "out" / "train.jsonl").read_bytes().splitlines()) < set(whole)


def test_a_finished_run_is_exported(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export of a finished run writes both sides, and says how many rows each has."""
    assert main(["export", str(finished), "--format", "openai", "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == (finished / "dataset" / "train.jsonl").read_bytes()
    assert "train.jsonl: " in capsys.readouterr().out


def test_a_run_that_was_stopped_before_its_first_pair(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first job that is not finished is named, not the last."""
    for name in ("questions", "pairs", "examples", "index"):
        shutil.rmtree(finished / name)
    assert main(["export", str(finished), "--format", "openai", "--to", str(tmp_path / "out")]) == 1
    assert "ask has done 0 of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "say --format F and --to PATH, or --push OWNER/NAME"),
        (["--format", "openai"], "say --format F and --to PATH"),
        (["--format", "openai", "--push", "a/b"], "leave --format and --to out"),
        (["--format", "tsv", "--to", "x"], "unknown format 'tsv'"),
    ],
)
def test_flags_that_do_not_fit(finished: Path, flags: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A format without a place, or a push with a format, is one line of what to say."""
    assert main(["export", str(finished), *flags]) == 1
    assert line in capsys.readouterr().err


def test_papers_that_could_not_be_read(
    tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Tuning on five unreadable papers says that they could not be read, and not to ask for more questions."""
    (tmp_path / "papers").mkdir()
    for number in range(5):
        (tmp_path / "papers" / f"{number}.pdf").write_bytes(b"no PDF %d" % number)
    run, config = tmp_path / "run", configured(simulate(), '[finetune]\nbackend = "openai"')

    assert main(["run", str(tmp_path / "papers"), "--out", str(run), "--config", str(config)]) == 1

    error = capsys.readouterr().err.splitlines()[-1]
    assert "5 of 5 papers could not be read" in error
    assert "max_questions" not in error
    assert main(["export", str(run), "--format", "openai", "--to", str(tmp_path / "out")]) == 1
    assert "5 of 5 papers could not be read" in capsys.readouterr().err
