from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from served_run import sealed_run

from engine.batches.record import BatchRecord, write_record
from jobs.config import Config
from jobs.run import configfile
from jobs.run.traffic import Traffic
from jobs.serve.committed import Committed
from jobs.serve.live import Live
from jobs.serve.run_now import JobNow, RunNow
from jobs.serve.watch import Watch


def look(folder: Path, *, live: Live | None = None) -> RunNow:
    run = sealed_run(folder)
    run.settings.write_bytes(configfile.dump(Config.model_validate({"budget": {"usd": 2.0}})))
    return Watch(run, {name: Committed(dataset) for name, dataset in run.datasets().items()}, live).look().now


def job(now: RunNow, name: str) -> JobNow:
    return next(each for each in now.jobs if each.job == name)


def test_a_run_that_nobody_works_on(tmp_path: Path) -> None:
    """The folder alone says what is done, of how much, what failed, and that no process works on it."""
    now = look(tmp_path)
    assert (now.state, now.left_s, now.in_flight, now.usd_budget) == ("stopped", None, None, 2.0)
    parse, ask, answer = (job(now, name) for name in ("parse", "ask", "answer"))
    assert (parse.state, parse.done, parse.total, parse.failed) == ("done", 4, 4, {"no_text": 1})
    assert (answer.state, answer.done, answer.exact) == ("done", 3, True)
    assert (ask.state, ask.done) == ("waits", 0)


def test_beside_a_process_that_works(tmp_path: Path) -> None:
    """Where the lock names a process that lives, the run is at work; no lock is taken, and nothing is written."""
    run = sealed_run(tmp_path)
    (tmp_path / "run.lock").write_text(str(os.getpid()))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    watch = Watch(run, {name: Committed(dataset) for name, dataset in run.datasets().items()}, None)
    assert watch.look().now.state == "works"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_the_process_knows_is_shown(tmp_path: Path) -> None:
    """In the process itself requests in flight are known by job, and the run works until its session ends."""
    traffic = Traffic()
    traffic.in_flight, traffic.jobs = 3, Counter({"answer": 3})
    live = Live(traffic, list)
    now = look(tmp_path / "one", live=live)
    assert (now.state, now.in_flight, job(now, "answer").in_flight, job(now, "ask").in_flight) == ("works", 3, 3, 0)
    live.working = False
    assert look(tmp_path / "two", live=live).state == "stopped"


def test_what_waits_for_batches(tmp_path: Path) -> None:
    """A job with requests at the provider says so, and no rate tells when they come; once they are here it does not."""
    run = sealed_run(tmp_path)
    (tmp_path / "run.lock").write_text(str(os.getpid()))
    watch = Watch(run, {name: Committed(dataset) for name, dataset in run.datasets().items()}, None)
    run.batches.mkdir()
    for number in (1, 2):
        batch = BatchRecord(number=number, role="generator", jobs=["ask"], rows=40, state="submitted", done=number)
        write_record(run.batches, batch)
    now = watch.look().now
    assert (now.left_s, job(now, "ask").left_s) == (None, None)
    assert job(now, "ask").waits_for == "2 batches at the provider, 3 of 80 rows"
    assert job(now, "answer").waits_for == ""
    for number in (1, 2):
        write_record(run.batches, BatchRecord(number=number, role="generator", jobs=["ask"], rows=40, state="ended"))
    assert job(watch.look().now, "ask").waits_for == ""
