from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import main

DATASETS = ("responses", "similarities", "verdicts", "assessments", "rejudgements", "preferences")


def rows(run: Path, name: str) -> list[str]:
    files = sorted((run / name).glob("*[0-9].jsonl"))
    return [line for file in files for line in file.read_text("utf-8").splitlines()]


def requests(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    return {job["job"]: job["usage"]["requests"] for job in json.loads(capsys.readouterr().out)["jobs"]}


def table(run: Path) -> Any:
    results = json.loads((run / "results.json").read_text("utf-8"))
    return {(row["split"], row["model"]): row["correctness"]["total"] for row in results["rows"]}


@pytest.fixture
def evaluated(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> Path:
    """A finished run with a candidate and every option of the evaluation."""
    run, config = tmp_path / "run", configured(simulate("--models", "*"))
    settings = ["sample=6", 'metrics=["token_f1", "relevancy"]', "rejudge=4", "pairwise=4"]
    flags = [flag for setting in settings for flag in ("--set", f"evaluate.{setting}")]
    assert main(["run", str(example_papers), "--out", str(run), "--config", str(config), *flags]) == 0
    assert main(["evaluate", str(run), "--model", "other=another"]) == 0
    return run


def bytes_of(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for name in DATASETS
        for path in sorted((run / name).iterdir())
        if path.name != "job.json"
    }


def test_a_lowered_sample_hides_answers_and_deletes_none(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lowered sample leaves all rows and asks nothing; raised again, it asks nothing and all is as it was."""
    before, results, paid = bytes_of(evaluated), table(evaluated), requests(evaluated, capsys)
    whole = {name: sorted(rows(evaluated, name)) for name in DATASETS}

    assert main(["evaluate", str(evaluated), "--set", "evaluate.sample=2", "--set", "evaluate.rejudge=1"]) == 0
    assert {name: sorted(rows(evaluated, name)) for name in DATASETS} == whole
    assert all(count <= 2 for count in table(evaluated).values())
    assert requests(evaluated, capsys) == paid

    assert main(["evaluate", str(evaluated), "--set", "evaluate.sample=6", "--set", "evaluate.rejudge=4"]) == 0
    assert requests(evaluated, capsys) == paid
    assert table(evaluated) == results
    after = bytes_of(evaluated)
    assert {name for name in before if name.endswith(".jsonl") and after[name] != before[name]} == set()


def test_a_dropped_candidate(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dropped candidate has left the table and run.toml; its answers stay, and are not paid for when it comes back."""
    paid, whole = requests(evaluated, capsys), sorted(rows(evaluated, "responses"))
    results = table(evaluated)

    assert main(["evaluate", str(evaluated), "--drop-model", "other"]) == 0
    assert "other" not in (evaluated / "run.toml").read_text("utf-8")
    assert {model for _, model in table(evaluated)} == {"base"}
    assert sorted(rows(evaluated, "responses")) == whole

    assert main(["evaluate", str(evaluated), "--model", "other=another"]) == 0
    assert requests(evaluated, capsys) == paid
    assert table(evaluated) == results


def test_a_candidate_that_is_none(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no candidate's is refused with those that are, and nothing is changed."""
    before = bytes_of(evaluated), (evaluated / "run.toml").read_bytes()
    assert main(["evaluate", str(evaluated), "--drop-model", "base"]) == 1
    assert "the candidates are: other" in capsys.readouterr().err
    assert (bytes_of(evaluated), (evaluated / "run.toml").read_bytes()) == before
