"""What `docs/reliability.md` promises of a whole run, as a user meets it; what one module can show stands beside it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import Configured, Simulate, counters, journalled, rows, snapshot, snapshot_of, start, wait_for

from jobs.cli.main import main

pytestmark = pytest.mark.processes


@contextlib.contextmanager
def endpoint(*flags: str) -> Iterator[str]:
    """The simulated endpoint until the block is left; its base URL."""
    command = [sys.executable, "-m", "jobs", "simulate", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, which does not outlive the block."""
    process = start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def status_of(out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def events(out: Path, name: str) -> list[dict[str, Any]]:
    """What the run's log says of events of that name."""
    lines = map(json.loads, (out / "run.log").read_bytes().splitlines())
    return [line for line in lines if line["event"] == f"gristmill.{name}"]


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of error that a command ended in."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gristmill: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_second_signal_ends_at_once(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """After the first signal what is in flight is waited for, after the second nothing; what is committed is kept."""
    url, out, config = simulate(), tmp_path / "run", configured("SLOW")
    slow = simulate("--latency-mean-s", "300")
    roles, embedding = config.read_text("utf-8").split("[models.embedding]")
    config.write_text(f"{roles}[models.embedding]{embedding}".replace("SLOW", url), "utf-8")
    held_up = config.with_name("held_up.toml")
    held_up.write_text(f"{roles.replace('SLOW', url)}[models.embedding]{embedding.replace('SLOW', slow)}", "utf-8")
    with running("run", example_papers, "--out", out, "--config", held_up, "--no-preflight") as process:
        wait_for((out / "pairs" / "00001.done.json").exists, process, limit_s=200)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    assert counters(url)["answered_twice"] == 0


def test_a_second_process_is_refused(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """While one process works on a run another gets one line that names it, and one may look at the run."""
    out, config = tmp_path / "run", configured(simulate("--latency-mean-s", "300"))
    sealed = {f"{shard}.{kind}" for shard in ("00000", "00001") for kind in ("jsonl", "done.json")}
    run = ["run", str(example_papers), "--out", str(out), "--config", str(config), "--no-preflight"]
    with running(*run) as process:
        wait_for(lambda: {path.name for path in (out / "chunks").glob("0*")} == sealed, process, limit_s=200)
        before = snapshot_of(out / "chunks")
        assert main(run) == 1
        assert f"another process ({process.pid}) is working in {out}; wait for it" in only_line(capsys)
        assert status_of(out, capsys)["papers"] == 3
        assert process.poll() is None
        assert snapshot_of(out / "chunks") == before


def test_raised_lengths_redo_what_was_cut_off(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """With more `max_tokens` the run goes on as it is, and `retry` asks again for the truncated answers alone."""
    url, out = simulate("--output-tokens-mean", "60"), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out), "--config", str(configured(url)), "--until", "answer"]
    assert main([*run, "--set", "models.generator.max_tokens=60"]) == 3
    failures = status_of(out, capsys)["failures"]
    assert isinstance(failures, list)
    assert {failure["kind"] for failure in failures} == {"truncated"}
    assert "raise it and use retry" in failures[0]["reason"]
    pairs, answered = {row["id"] for row in rows(out, "pairs")}, counters(url)["answered"]
    assert main([*run, "--set", "models.generator.max_tokens=1000"]) == 3
    assert counters(url)["answered"] == answered
    assert main(["retry", str(out), "--only", "truncated"]) == 0
    assert counters(url)["answered_twice"] == len(failures)
    assert pairs < {row["id"] for row in rows(out, "pairs")}
    assert status_of(out, capsys)["failures"] == []


def test_an_endpoint_that_goes_away_is_waited_for(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """While nobody answers at the address the run waits and says why; when somebody does again it goes on by itself."""
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "run"
    run = ["run", str(example_papers), "--until", "ask"]
    assert main([*run, "--out", str(undisturbed), "--config", str(configured(simulate()))]) == 0
    slowly = ("--latency-mean-s", "0.3")
    with contextlib.ExitStack() as stack:
        with endpoint(*slowly) as url:
            process = stack.enter_context(running(*run, "--out", out, "--config", configured(url)))
            wait_for(partial(journalled, out, "questions"), process, limit_s=200)
        wait_for(lambda: "unreachable" in {event["kind"] for event in events(out, "attempt.failed")}, process)
        with endpoint(*slowly, "--port", re.findall(r"[0-9]+", url)[-2]):
            assert process.wait(timeout=200) == 0
    assert not events(out, "input.failed")
    assert rows(out, "questions") == rows(undisturbed, "questions")


def test_storms_are_waited_out(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Storms of 429 fail no record: the run pauses, says why in its log, and ends with the bytes of a calm one."""
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    for out, flags in ((calm, []), (stormy, ["--fault-storm", "0.1", "--storm-s", "1"])):
        config = configured(simulate(*flags))
        assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    assert {event["kind"] for event in events(stormy, "attempt.failed")} == {"rate_limited"}
    assert not events(stormy, "input.failed")
    assert snapshot(stormy) == snapshot(calm)


def test_faults_change_no_row(example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured) -> None:
    """Faults of every kind but hangs, all together: the rows are those of an endpoint without faults."""
    shares = dict.fromkeys(["500", "reset", "torn", "model", "duplicate-keys"], 0.04)
    shares |= dict.fromkeys(["503", "storm", "short", "slow", "null", "huge"], 0.02)
    faults = [part for name, share in shares.items() for part in (f"--fault-{name}", str(share))]
    urls = {"calm": simulate(), "rough": simulate(*faults, "--storm-s", "1", "--slow-s", "1")}
    for name, url in urls.items():
        run = ["run", str(example_papers), "--out", str(tmp_path / name), "--config", str(configured(url))]
        assert main(run) == 0
    for name in ("questions", "pairs", "curated", "examples", "responses", "verdicts"):
        assert rows(tmp_path / "rough", name) == rows(tmp_path / "calm", name)
    assert len(counters(urls["rough"])["faults"]) == len(shares)


def test_a_series_of_failures_stops_the_run(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """When every record is refused in the same way the run stops early, and `retry` makes good what failed."""
    out, refusing, good = tmp_path / "run", simulate("--fault-filter", "1"), simulate()
    settings = ["--set", "parse.chunk_size=96", "--set", "parse.chunk_overlap=8"]
    run = ["run", str(example_papers), "--out", str(out), "--until", "ask", *settings]
    few = ["--set", "models.generator.max_concurrency=2"]
    assert main([*run, "--config", str(configured(refusing)), *few]) == 1
    line = only_line(capsys)
    assert "ask failed 25 times in a row with content_filter" in line
    assert "retry --only content_filter" in line
    chunks = len(rows(out, "chunks"))
    assert 25 <= counters(refusing)["requests"]["chat"] <= 29 < chunks
    assert main([*run, "--config", str(configured(good))]) == 3
    assert main(["retry", str(out), "--only", "content_filter"]) == 0
    assert len({row["chunk_id"] for row in rows(out, "questions")}) == chunks


def test_a_spent_budget_is_raised(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the budget is spent the run drains and says so; with a higher cap it goes on, and asks nothing twice."""
    url, out = simulate(), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out), "--config", str(configured(url))]
    for _ in range(2):
        assert main([*run, "--set", "budget.tokens=9000"]) == 1
        assert "raise budget.tokens" in only_line(capsys)
        status = status_of(out, capsys)
        assert status["failures"] == []
        spent = counters(url)["prompt_tokens"] + counters(url)["completion_tokens"]
        assert 4000 < spent <= 9000
    assert main([*run, "--set", "budget.tokens=9000000"]) == 0
    assert counters(url)["answered_twice"] == 0


HOSTILE_NAMES = [
    "--out.pdf",
    "$(touch touched).pdf",
    "; touch touched;.pdf",
    "<script>alert(1)</script>.pdf",
    "..%2f..%2fetc.pdf",
    "two\nlines.pdf",
    "\x1b[2J.pdf",
    "[red]markup[/red].pdf",
]


def test_hostile_file_names(
    example_papers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a file is called, its name is a name: no command, no path, no tag and no escape sequence."""
    papers, out = tmp_path / "papers", tmp_path / "run"
    papers.mkdir()
    monkeypatch.chdir(papers)
    for name in HOSTILE_NAMES:
        (papers / name.replace("/", "∕")).write_bytes(b"%PDF-1.7 nothing")
    shutil.copy(min(example_papers.iterdir()), papers / "good.pdf")
    before = sorted(papers.iterdir())
    assert main(["run", str(papers), "--out", str(out), "--until", "parse", "--set", "parse.workers=1"]) == 3
    assert main(["report", str(out)]) == 0
    assert len(rows(out, "papers")) == len(HOSTILE_NAMES) + 1
    assert {row["path"] for row in rows(out, "papers")} == set(map(str, before))
    assert sorted(papers.iterdir()) == before
    page = (out / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    capsys.readouterr()
    assert main(["status", str(out)]) == 0
    assert "\x1b" not in capsys.readouterr().out
