"""A whole run in batches, as a user types it: left by Ctrl-C, looked at, ended, gone on with, and the same bytes as ever."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from test_pipeline import Configured, Simulate, counters, rows, snapshot

from engine.batches import batches
from engine.batches.policy import BatchTimes
from engine.batches.record import BatchRecord, read_records
from jobs.cli.main import main

pytestmark = pytest.mark.processes

IN_BATCHES = [
    word for role in ("generator", "base", "judge", "embedding") for word in ("--set", f"models.{role}.batch=true")
]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are sent and looked at after fractions of a second, in place of minutes."""
    times = BatchTimes(idle_s=0.2, quiet_s=0.05, poll_s=0.1, settle_s=1.0)
    monkeypatch.setattr(batches, "BatchTimes", lambda: times)


@pytest.fixture
def run(example_papers: Path, tmp_path: Path) -> list[str]:
    return ["run", str(example_papers), "--out", str(tmp_path / "run")]


def left_when(out: Path, condition: Callable[[list[BatchRecord]], bool], command: list[str]) -> int:
    """Type the command, and press Ctrl-C once the records of its batches are so; returns the exit code."""
    ended = threading.Event()

    def press() -> None:
        while not ended.wait(0.01):
            if condition(read_records(out / "batches")):
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=press)
    watcher.start()
    try:
        return main(command)
    finally:
        ended.set()
        watcher.join()


def submitted(records: list[BatchRecord]) -> bool:
    return any(record.state == "submitted" for record in records)


def test_a_run_that_is_left_and_gone_on_with(
    run: list[str], tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C leaves batches and says so, the folder shows them, and the same command ends with the bytes of requests
    that were sent one by one, of which none was answered twice."""
    url, out = simulate("--batch-run-s", "1"), tmp_path / "run"
    start = [*run, "--config", str(configured(url)), *IN_BATCHES]
    assert left_when(out, submitted, start) == 130
    said = capsys.readouterr().err
    assert "in batches" in said
    assert "batches go on at the provider and are paid for; the same command fetches their answers" in said
    assert main(["batches", str(out)]) == 0
    assert "the command that began the run goes on with what is not fetched" in capsys.readouterr().out
    assert main(["status", str(out)]) == 0
    assert " of 1 d\n" in capsys.readouterr().out

    assert main(run) == 0
    assert counters(url)["rows_answered_twice"] == 0
    capsys.readouterr()
    assert main(["batches", str(out), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {batch["state"] for batch in listed} == {"fetched"}
    assert {job for batch in listed for job in batch["jobs"]} >= {"ask", "answer", "index", "respond", "judge"}
    assert "<h2>Batches</h2>" in (out / "report.html").read_text("utf-8")

    asked = counters(url)["batch_rows"]
    assert main(run) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert counters(url)["batch_rows"] == asked
    online = tmp_path / "online"
    assert main(["run", run[1], "--out", str(online), "--config", str(configured(simulate()))]) == 0
    assert snapshot(out) == snapshot(online)


def test_ended_batches(
    run: list[str], tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ended batches had answered is kept; the rest is asked again, without batches where these are switched off."""
    url, out = simulate("--batch-run-s", "4"), tmp_path / "run"
    start = [*run, "--config", str(configured(url)), "--until", "ask", "--set", "models.generator.batch=true"]
    assert left_when(out, lambda records: any(record.done > 2 for record in records), start) == 130
    assert main(["batches", str(out), "--cancel"]) == 0
    assert "what they have answered is kept" in capsys.readouterr().out
    kept = counters(url)["answers_by_row"]
    assert kept > 2
    assert main([*run, "--until", "ask", "--set", "models.generator.batch=false"]) == 0
    assert counters(url)["answers_by_row"] == kept
    assert {row["chunk_id"] for row in rows(out, "questions")} == {row["id"] for row in rows(out, "chunks")}
    assert counters(url)["answered_twice"] == 0


def test_another_key(
    run: list[str],
    tmp_path: Path,
    simulate: Simulate,
    configured: Configured,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run whose batches are at another account ends in one line, and loses nothing of them."""
    url, out = simulate("--batch-run-s", "2"), tmp_path / "run"
    start = [*run, "--config", str(configured(url)), "--until", "ask", "--set", "models.generator.batch=true"]
    keyed = ["--set", "models.generator.api_key_env=SOME_KEY"]
    monkeypatch.setenv("SOME_KEY", "first-key-0123456789")
    assert left_when(out, submitted, [*start, *keyed]) == 130
    monkeypatch.setenv("SOME_KEY", "other-key-0123456789")
    assert main([*run, "--until", "ask"]) == 1
    assert "was sent with another key or address of [models.generator]" in capsys.readouterr().err
    monkeypatch.setenv("SOME_KEY", "first-key-0123456789")
    assert main([*run, "--until", "ask"]) == 0
    assert counters(url)["rows_answered_twice"] == 0


def test_the_price_of_batches(
    run: list[str], tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows from batches cost what is left of the price, in status as in the batches, and a budget counts them so."""
    url, out = simulate(), tmp_path / "run"
    prices = '[prices."simulated-chat"]\ninput_usd_per_million = 100.0\noutput_usd_per_million = 400.0\n'
    start = [*run, "--config", str(configured(url, prices)), "--until", "ask", "--no-preflight"]
    online = ["run", run[1], "--out", str(tmp_path / "online"), *start[4:]]
    assert main(online) == 0
    assert main([*start, "--set", "models.generator.batch=true", "--set", "models.generator.batch_discount=0.25"]) == 0
    capsys.readouterr()
    spent = []
    for folder in (out, tmp_path / "online"):
        assert main(["status", str(folder), "--json"]) == 0
        spent.append(next(job for job in json.loads(capsys.readouterr().out)["jobs"] if job["job"] == "ask")["usage"])
    assert spent[0]["cost_usd"] == pytest.approx(0.75 * spent[1]["cost_usd"])
    assert sum(record.paid.cost_usd for record in read_records(out / "batches")) == pytest.approx(spent[0]["cost_usd"])


def test_a_run_that_is_started_again_and_again(
    run: list[str], tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Started by a clock and ended each time that a batch is new, as on a laptop, a run ends and asks nothing twice."""
    url, out = simulate("--batch-run-s", "0.5", "--batch-expire", "0.2"), tmp_path / "run"
    command = [*run, "--config", str(configured(url)), *IN_BATCHES, "--until", "answer"]
    starts, code = 0, 130
    while code == 130 and starts < 20:
        known = len(read_records(out / "batches"))
        code = left_when(out, lambda records, known=known: submitted(records[known:]), command)
        starts += 1
    assert code == 0
    assert starts > 3
    assert counters(url)["rows_answered_twice"] == 0
    assert all(record.state == "ended" for record in read_records(out / "batches"))
