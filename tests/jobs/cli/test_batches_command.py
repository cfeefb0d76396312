from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine.batches.record import BatchRecord, write_record
from engine.requests import Usage
from jobs.cli.main import main
from jobs.config import Config
from jobs.run.folder import RunFolder

NOW = 1_800_000_000.0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = RunFolder(tmp_path / "run")
    with folder.held(Config()):
        pass
    return folder


def keep(run: RunFolder, *records: BatchRecord) -> None:
    run.batches.mkdir(exist_ok=True)
    for record in records:
        write_record(run.batches, record)


FETCHED = BatchRecord(
    number=1,
    role="generator",
    jobs=["ask"],
    rows=50_000,
    reserved=Usage(cost_usd=40.0),
    state="ended",
    status="completed",
    batch_id="batch_one",
    done=49_990,
    failed=10,
    submitted_at=NOW - 9000,
    ended_at=NOW - 8000,
    reason="10 rows failed",
    paid=Usage(cost_usd=12.5),
)
WAITING = BatchRecord(
    number=2,
    role="judge",
    jobs=["judge", "critique"],
    rows=4000,
    reserved=Usage(cost_usd=3.25),
    state="submitted",
    status="in_progress",
    batch_id="batch_[red]two",
    done=1200,
    failed=34,
    made_at=NOW - 3 * 3600 - 60,
    submitted_at=NOW - 331 * 86_400,  # by the provider's clock, which may be wrong
)
UNSENT = BatchRecord(number=10, role="judge", jobs=["judge"], rows=7, state="uploaded", file_id="file_1", made_at=NOW)


def test_each_batch_has_a_line(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Number, jobs, model, state, rows, age, window, dollars and id, by number, without a key."""
    keep(run, UNSENT, WAITING, FETCHED)
    assert main(["batches", str(run.path)]) == 0
    head, *rows, advice = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert head == "batch jobs role state rows done failed age window reserved paid id reason"
    assert rows == [
        "1 ask generator fetched 50,000 49,990 10 17 min 1 d $12.5000 batch_one 10 rows failed",
        "2 judge, critique judge in_progress 4,000 1,200 34 3 h 1 min 1 d $3.2500 batch_[red]two",
        "10 judge judge unsent 7 0 0 s 1 d",
    ]
    assert "--cancel" in advice


def test_batches_as_json(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for a program, in seconds and dollars."""
    keep(run, WAITING)
    assert main(["batches", str(run.path), "--json"]) == 0
    [batch] = json.loads(capsys.readouterr().out)
    assert batch["age_s"] == 3 * 3600 + 60
    assert (batch["state"], batch["done"], batch["failed"], batch["rows"]) == ("in_progress", 1200, 34, 4000)
    assert batch["reserved_usd"] == 3.25


def test_a_run_without_batches(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says how there would be some."""
    assert main(["batches", str(run.path)]) == 0
    assert "has no batches; batch = true" in capsys.readouterr().out


def test_a_damaged_batch(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read is named in one line."""
    keep(run, FETCHED)
    (run.batches / "1.json").write_text("{")
    assert main(["batches", str(run.path)]) == 1
    assert "batches/1.json is damaged" in capsys.readouterr().err


def test_status_shows_batches_by_state(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a state: how many, their rows, and how long the oldest has waited of its window."""
    keep(run, FETCHED, WAITING, UNSENT)
    assert main(["status", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "1 batch fetched: 50,000 of 50,000 rows, 10 of them failed\n" in said
    assert "1 batch in_progress: 1,234 of 4,000 rows, 34 of them failed; the oldest 3 h 1 min of 1 d\n" in said
    assert main(["status", str(run.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    states = {state["state"]: state for state in status["batches"]}
    assert states["in_progress"]["oldest_s"] == 3 * 3600 + 60
    assert states["unsent"]["rows"] == 7
    assert status["seconds_left"] is None


def test_what_lies_in_batches_is_no_dataset(run: RunFolder) -> None:
    """Requests and results beside a record are not taken for rows of the run, whose cost is that of rows."""
    keep(run, FETCHED)
    for name in ("1.requests.jsonl", "1.results.jsonl"):
        (run.batches / name).write_text('{"custom_id": "x"}\n')
    assert run.paid() == Usage()
