from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine.events import JobFinished, JobStarted
from jobs.report.job_times import job_seconds, read_job_seconds
from jobs.run.event_log import EventLog


def line(second: int, event: str, job: str) -> bytes:
    return json.dumps({"monotonic_s": second, "level": "info", "event": f"gristmill.{event}", "job": job}).encode()


def test_a_jobs_time_runs_from_start_to_end() -> None:
    """Jobs overlap, each with its own time, in the order in which they began."""
    lines = [
        line(0, "job.started", "parse"),
        line(1, "job.started", "ask"),
        line(5, "job.finished", "parse"),
        line(9, "job.finished", "ask"),
    ]
    assert list(job_seconds(lines).items()) == [("parse", 5.0), ("ask", 8.0)]


def test_sittings_add_up_and_the_pause_between_does_not() -> None:
    """A killed sitting counts up to the job's last event; the next begins anew."""
    lines = [
        line(0, "job.started", "ask"),
        line(4, "shard.sealed", "ask"),
        line(6, "job.started", "parse"),
        line(100, "job.started", "ask"),
        line(103, "job.finished", "ask"),
        line(110, "job.started", "judge"),
        line(112, "input.failed", "judge"),
    ]
    assert job_seconds(lines) == {"ask": 7.0, "parse": 0.0, "judge": 2.0}


def test_a_torn_log_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Lines that a kill tore are passed over, and what was rotated out comes first."""
    log = tmp_path / "run.log"
    assert read_job_seconds(log) == {}
    log.with_name("run.log.1").write_bytes(line(0, "job.started", "ask") + b"\n")
    log.write_bytes(b'ed": 1}\n' + line(2, "job.finished", "ask") + b'\n{"monotonic_s": 7')
    assert read_job_seconds(log) == {"ask": 2.0}


def test_the_log_of_a_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run writes into its log is what is read, and a wall clock that jumps back changes no time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 2e9 - 100 * now[0])
    log, path = EventLog(), tmp_path / "run.log"
    with log.to(path):
        for event in (JobStarted(job="ask"), JobStarted(job="parse"), JobFinished(job="parse"), JobFinished(job="ask")):
            log(event)
            now[0] += 1.5
    assert read_job_seconds(path) == {"parse": 1.5, "ask": 4.5}
