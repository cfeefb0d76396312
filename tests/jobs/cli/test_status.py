from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from judged_run import judged_run, ran
from samples import sealed

from engine.datasets import Dataset
from engine.errors import BadInput, Permanent
from engine.records import Record
from engine.requests import Usage
from engine.shards import Entry
from engine.writers import ShardWriter
from jobs.cli.status import print_status
from jobs.records import Paper
from jobs.report.collect import JobState
from jobs.report.data import Failure
from jobs.report.failure_list import naming_papers
from jobs.report.remaining import Expected, Pace, expected, read_figures, read_paces, seconds_left
from jobs.run.folder import RunFolder


@pytest.fixture
async def folder(tmp_path: Path) -> RunFolder:
    return await judged_run(tmp_path / "[x] run")


def told(folder: RunFolder, capsys: pytest.CaptureFixture[str], kind: str | None = None) -> list[str]:
    print_status(folder, as_json=False, kind=kind)
    return capsys.readouterr().out.splitlines()


def test_status(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a job with what is done of how much; then failures by kind; then some of them, brackets as they are."""
    lines = told(folder, capsys)
    assert lines[0] == f"{folder.path}: 3 papers; no process works on it"
    assert ["parse", "3/3", "1", "2", "1", "3", "45"] in [line.split() for line in lines]
    counts, example = lines.index("2 failed, by kind:"), lines.index("for example:")
    assert [line.split() for line in lines[counts + 1 : counts + 3]] == [
        ["1", "content_filter", "in", "ask"],
        ["1", "damaged", "in", "parse"],
    ]
    assert lines[counts + 3].endswith(f"gristmill status '{folder.path}' --failures content_filter")
    assert lines[example + 1 :] == [
        "  parse damaged: /in/[x]/p2.pdf: it is [damaged]",
        "  ask content_filter: c2: withheld",
    ]


def test_all_failures_of_a_kind(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for by kind, each is shown with what was answered to it, as text; a kind that nothing has is one line."""
    assert told(folder, capsys, "content_filter") == [
        "ask content_filter: c2: withheld",
        "  answered: [no] <b>way</b>\ufffd[31m",
    ]
    with pytest.raises(BadInput, match="the kinds are: content_filter, damaged"):
        told(folder, capsys, "damage")


async def test_a_page_of_failures(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a thousand failures some of each kind are shown, and all of them where one kind is asked for."""
    made = folder.datasets()
    many = {f"r{number}": Permanent(f"no {number}", kind=f"kind{number % 9}") for number in range(900)}
    await ran("similarity", made["similarities"], made["responses"], dict(many))
    lines = told(folder, capsys)
    assert len(lines[lines.index("for example:") + 1 :]) == 20
    assert ["100", "kind3", "in", "similarity"] in [line.split() for line in lines]
    assert len(told(folder, capsys, "kind3")) == 100


def test_status_as_json(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON the status is one object with the same figures, and what was answered to those that failed."""
    print_status(folder, as_json=True)
    status = json.loads(capsys.readouterr().out)
    assert (status["run"], status["papers"], status["working"]) == (str(folder.path), 3, False)
    assert status["jobs"][0]["failures"] == {"damaged": 1}
    assert (status["jobs"][0]["inputs"], status["jobs"][0]["total"]) == (3, 3)
    assert [failure["id"] for failure in status["failures"]] == ["p2", "c2"]
    print_status(folder, as_json=True, kind="content_filter")
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert failure["reply"].startswith("[no] <b>way</b>")


def test_an_empty_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run in which nothing was done has a status of zeros, for readers too."""
    print_status(RunFolder(tmp_path / "run"), as_json=True)
    status = json.loads(capsys.readouterr().out)
    assert status["failures"] == []
    assert {job["rows"] for job in status["jobs"]} == {0}
    assert told(RunFolder(tmp_path / "run"), capsys)[0] == f"{tmp_path / 'run'}: 0 papers; no process works on it"


async def test_own_jobs_are_listed(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's own job has its line and its failures, though only its folder knows it."""
    made = folder.datasets()
    own: Dataset[Record] = Dataset(folder.path / "lengths", Record)
    row = Record(id="l1", parent="a1")
    await ran("measure", own, made["pairs"], {"a1": [row], "a2": Permanent("odd", kind="odd_length")})
    (folder.path / "old.discarded").mkdir()
    (folder.path / "old.discarded" / "job.json").write_text('{"job": "old"}', "utf-8")
    lines = told(folder, capsys)
    assert ["measure", "2", "1", "1", "1", "2", "30"] in [line.split() for line in lines]
    assert "  measure odd_length: a2: odd" in lines
    assert not [line for line in lines if line.startswith("old")]


def test_the_paper_that_came_first_is_named(tmp_path: Path) -> None:
    """ "another paper with the same text" is followed by the path of that paper, where it is known."""
    first, other = "0" * 32, "1" * 32
    papers = sealed(tmp_path / "papers", Paper, [Paper(id=first, parent="", path="/in/a.pdf", sha256="", bytes=1)])
    same = "another paper with the same text came first (paper {})"
    found = [
        Failure(job="parse", kind="duplicate", id="p", reason=same.format(first)),
        Failure(job="parse", kind="duplicate", id="p", reason=same.format(other)),
        Failure(job="parse", kind="damaged", id="p", reason=f"it is (paper {first})"),
    ]
    assert [each.reason for each in naming_papers(found, papers)] == [
        f"another paper with the same text came first (paper {first}, /in/a.pdf)",
        found[1].reason,
        found[2].reason,
    ]


def test_how_much_is_expected(tmp_path: Path) -> None:
    """From job to job: by the rows above and the share of them that became inputs; by papers where a sample is drawn."""
    run = RunFolder(tmp_path / "run")
    made = run.datasets()
    names = {"parse": "chunks", "ask": "questions", "answer": "pairs", "probe": "probes", "respond": "responses"}

    def state(job: str, sealed: int, inputs: int, rows: int) -> JobState:
        return JobState(job=job, sealed=sealed, open=0, inputs=inputs, rows=rows, failures={}, usage=Usage())

    def rows(name: str, *counts: int) -> None:
        sealed(made[name].folder, Record, *[[Record(id=f"{i}.{n}", parent="") for n in range(i)] for i in counts])

    assert expected([], read_figures(made), names) == {}
    papers = [Paper(id=f"p{number}", parent="", path="", sha256="", bytes=1) for number in range(16)]
    sealed(made["papers"].folder, Paper, papers[:2], papers[2:8], papers[8:])
    rows("chunks", 10, 30, 40)
    rows("questions", 8, 24)
    rows("pairs", 8)
    rows("responses", 3)
    states = [
        state("parse", 3, 16, 80),
        state("ask", 2, 32, 64),  # four fifths of the chunks are asked about, two questions each
        state("answer", 1, 8, 8),
        state("probe", 0, 0, 0),
        state("respond", 1, 3, 3),
    ]
    assert expected(states, read_figures(made), names) == {
        "parse": Expected(total=16, exact=True),
        "ask": Expected(total=64, exact=False),
        "answer": Expected(total=128, exact=False),
        "probe": Expected(total=128, exact=False),
        "respond": Expected(total=24, exact=False),
    }


def test_the_time_left_is_that_of_the_slowest(tmp_path: Path) -> None:
    """Each job goes on at the pace of the last process; jobs run side by side, so the slowest decides."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)

    def line(after_s: int, event: str, job: str, **fields: int | bool) -> str:
        time = (begun + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")
        return json.dumps({"time": time, "event": f"gristmill.{event}", "job": job, **fields})

    log = tmp_path / "run.log"
    log.write_text(
        "\n".join(
            [
                line(0, "job.started", "ask"),
                line(5, "shard.sealed", "ask", inputs=900),
                line(50, "job.started", "ask"),  # another process
                line(50, "shard.sealed", "ask", inputs=900, found=True),
                line(60, "job.started", "parse"),
                line(70, "shard.sealed", "ask", inputs=20),
                line(80, "shard.sealed", "parse", inputs=4),
                line(80, "job.finished", "parse"),
                "torn",
            ]
        ),
        "utf-8",
    )
    ask = JobState(job="ask", sealed=2, open=1, inputs=950, rows=0, failures={}, usage=Usage())
    parse = msgspec.structs.replace(ask, job="parse", inputs=4)
    judge = msgspec.structs.replace(ask, job="judge", inputs=0)
    paces = read_paces(log, [ask, parse, judge], begun + timedelta(seconds=150), {"ask": 30})
    assert paces == {"ask": Pace(inputs=50, seconds=100), "parse": Pace(inputs=4, seconds=20)}
    totals = {
        "ask": (ask, Expected(total=1000, exact=False)),
        "parse": (parse, Expected(total=4, exact=True)),
        "judge": (judge, Expected(total=None, exact=False)),
    }
    assert seconds_left(totals, paces) == 100
    assert seconds_left({}, paces) is None


async def test_a_run_that_is_worked_on(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """The process that holds the run is named, with the time left; one that has ended is not taken for it."""
    (folder.path / "run.lock").write_text(f"{os.getpid()}\n", "ascii")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    folder.log.write_text(json.dumps({"time": now, "event": "gristmill.job.started", "job": "similarity"}), "utf-8")
    dataset = folder.datasets()["similarities"]
    dataset.folder.mkdir()
    async with ShardWriter(dataset.shard(0)) as writer:
        await writer.append(Entry(id="r0", position=0, rows=0, end=0))
        lines = told(folder, capsys)
    assert lines[0].endswith(f"process {os.getpid()} works on it")
    assert ["similarity", "1/≈4", "0", "+", "1", "open", "0", "0", "0", "0"] in [line.split() for line in lines]
    assert any(line.startswith("about ") and "left at the pace of now" in line for line in lines)
    (folder.path / "run.lock").write_text("999999999\n", "ascii")
    assert "run the same command again to go on" in told(folder, capsys)
