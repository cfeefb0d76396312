"""A whole run in trouble: answers that are cut off, a setting that fails every record, storms, an endpoint that goes away."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import counters, journalled, rows, snapshot, start, wait_for

from jobs.cli import main

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def failures(run: Path, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """How many records failed, by kind."""
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    return Counter(failure["kind"] for failure in json.loads(capsys.readouterr().out)["failures"])


def events(run: Path, name: str) -> list[dict[str, Any]]:
    """What the run's log says of events of that name."""
    lines = map(json.loads, (run / "run.log").read_bytes().splitlines())
    return [line for line in lines if line["event"] == f"gristmill.{name}"]


def test_a_raised_length_redoes_only_what_was_cut(
    example_papers: Path,
    tmp_path: Path,
    simulate: Simulate,
    configured: Configured,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Answers that max_tokens cut off are failures; once it is raised, `retry` asks for these again and for no other."""
    url, out = simulate(), tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out), "--until", "answer"]
    assert main([*run, "--config", str(configured(url)), "--set", "models.generator.max_tokens=48"]) == 3
    before, kinds = rows(out, "pairs"), failures(out, capsys)
    assert set(kinds) == {"truncated"}
    asked = counters(url)["requests"]["chat"]
    assert main([*run, "--set", "models.generator.max_tokens=1000"]) == 3
    assert counters(url)["requests"]["chat"] == asked, "what failed is asked again on request only"
    assert main(["retry", str(out), "--only", "truncated"]) == 0
    assert failures(out, capsys) == Counter()
    assert [pair for pair in rows(out, "pairs") if pair in before] == before
    assert len(rows(out, "pairs")) == len(rows(out, "questions")) == len(before) + kinds["truncated"]


def test_a_setting_that_fails_every_record(
    example_papers: Path,
    tmp_path: Path,
    simulate: Simulate,
    configured: Configured,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same failure on 25 records in a row ends the run in one line, with hardly more asked; mended, all is done."""
    bad, out = simulate("--fault-filter", "1"), tmp_path / "run"
    small = ["--set", "parse.chunk_size=64", "--set", "parse.chunk_overlap=0", "--until", "ask"]
    limit = ["--set", "models.generator.max_concurrency=4"]
    run = ["run", str(example_papers), "--out", str(out), *small]
    assert main([*run, *limit, "--config", str(configured(bad))]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("gristmill: ask failed 25 times in a row with content_filter")
    assert "retry --only content_filter" in last
    assert 25 <= counters(bad)["requests"]["chat"] < 25 + 2 * 4
    assert len(rows(out, "chunks")) > 50
    good = simulate()
    assert main([*run, *limit, "--config", str(configured(good))]) == 3
    assert main(["retry", str(out), "--only", "content_filter"]) == 0
    asked = {row["chunk_id"] for row in rows(out, "questions")}
    assert asked == {row["id"] for row in rows(out, "chunks")}


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


@contextmanager
def serving(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "jobs.cli", "simulate", "--latency-mean-s", "0.3", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_an_endpoint_that_goes_away_and_comes_back(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """While nobody answers at the address the run waits and says why; when somebody does again it goes on by itself."""
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "run"
    run = ["run", str(example_papers), "--until", "ask"]
    assert main([*run, "--out", str(undisturbed), "--config", str(configured(simulate()))]) == 0
    with serving() as (server, url):
        process = start(*run, "--out", out, "--config", configured(url))
        wait_for(partial(journalled, out, "questions"), process, limit_s=120)
        server.kill()
        server.wait()
    wait_for(lambda: "unreachable" in {event["kind"] for event in events(out, "attempt.failed")}, process)
    with serving(int(url.split(":")[2].split("/")[0])):
        assert process.wait(timeout=120) == 0
    assert not events(out, "input.failed")
    assert rows(out, "questions") == rows(undisturbed, "questions")
