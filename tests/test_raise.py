"""A pilot that is raised: more questions, or a larger sample, on a finished run. Only the difference is asked for."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from test_pipeline import counters, journalled, rows, snapshot, start, wait_for

from jobs.api import run_pipeline
from jobs.cli.main import main
from jobs.registry import ROWS
from jobs.run.folder import RunFolder

pytestmark = pytest.mark.processes

Configured = Callable[..., Path]
Simulate = Callable[..., str]

PILOT = """
[parse]
chunk_size = 64
chunk_overlap = 0
workers = 1
papers_per_shard = 3
[ask]
questions_per_chunk = 1
max_questions = 100
[split]
by = "paper"
[curate]
critic = true
critic_passing = 1
[evaluate]
sample = 6
"""
CHAT = ("questions", "pairs", "critiques", "responses", "verdicts")
EMBEDDING = ("index", "probes", "similarities")
PAPERS, PARAGRAPHS = 10, 18
TRIED = 4  # models are tried with a request each, unless that is switched off


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Papers of random words with a chunk for each paragraph: more than three hundred."""
    random, folder = Random(14), tmp_path / "papers"
    folder.mkdir()
    words = ["".join(random.choices("bcdfglmnprstvz", k=2) + random.choices("aeiou", k=2)) + "m" for _ in range(400)]
    for number in range(PAPERS):
        texts = (" ".join(random.choices(words, k=44)).capitalize() + "." for _ in range(PARAGRAPHS))
        (folder / f"{number}.md").write_text(f"# On {words[number]}\n\n" + "\n\n".join(texts), "utf-8")
    return folder


def pilot(folder: Path, url: str, configured: Configured, papers: Path, text: str = PILOT) -> Path:
    """A finished run of these settings."""
    config = configured(url)
    config.write_text(config.read_text("utf-8").split("[parse]")[0] + text, "utf-8")
    out = folder / "run"
    assert main(["run", str(papers), "--out", str(out), "--config", str(config), "--no-preflight"]) == 0
    return out


def lines(run: Path) -> dict[str, dict[str, list[bytes]]]:
    """The rows of every dataset, as they stand in each of its shards."""
    return {
        name: {path.name: path.read_bytes().splitlines() for path in sorted((run / name).glob("*[0-9].jsonl"))}
        for name in ROWS
        if (run / name).is_dir()
    }


def paid(run: Path) -> dict[str, int]:
    """What each job that asks a model has cost, in requests, by its dataset."""
    datasets = RunFolder(run).datasets()
    return {name: datasets[name].usage().requests for name in (*CHAT, *EMBEDDING)}


def inputs(run: Path) -> dict[str, int]:
    datasets = RunFolder(run).datasets()
    return {name: sum(seal.inputs for seal in datasets[name].seals()) for name in (*CHAT, *EMBEDDING)}


def chats(url: str) -> int:
    """The chat requests that the endpoint has answered."""
    count: int = counters(url)["answered_by_model"]["simulated-chat"]
    return count


def grown(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items()}


def splits(run: Path) -> dict[str, str]:
    return {row["id"]: row["split"] for name in ("chunks", "questions", "pairs", "examples") for row in rows(run, name)}


def check_stays(before: dict[str, dict[str, list[bytes]]], after: dict[str, dict[str, list[bytes]]]) -> None:
    """Each row of before stands in its shard with the same bytes, in the same order, and mostly in front of all others."""
    for name, shards in before.items():
        for shard, old in shards.items():
            new = after[name][shard]
            assert not Counter(old) - Counter(new), f"a row of {name} is gone"
            assert [line for line in new if line in set(old)] == old
            if name not in ("responses", "similarities", "verdicts"):
                assert new[: len(old)] == old


def test_a_pilot_of_a_hundred_becomes_three_hundred(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two hundred more are asked, and every job below does only what is new; all rows and sides stay as they were."""
    url = simulate()
    out = pilot(tmp_path, url, configured, papers)
    before, sides, cost, had, heard = lines(out), splits(out), paid(out), inputs(out), chats(url)
    assert len(rows(out, "questions")) == 100
    raised = ["run", str(papers), "--out", str(out), "--set", "ask.max_questions=300", "--no-preflight"]
    assert main(raised) == 0
    asked = rows(out, "questions")
    assert len(asked) == len({row["chunk_id"] for row in asked}) == 300
    assert sum(row.get("raised", 0) for row in asked) == 200
    check_stays(before, lines(out))
    assert sides.items() <= splits(out).items()
    more, new = grown(paid(out), cost), grown(inputs(out), had)
    assert more == new
    assert new == {
        "questions": 200,
        "pairs": 200,
        "probes": new["probes"],
        "critiques": new["critiques"],
        **dict.fromkeys(("responses", "verdicts", "index", "similarities"), 0),
    }
    assert 190 <= new["probes"] <= 200
    assert sum(more[name] for name in CHAT) == chats(url) - heard
    assert counters(url)["answered_twice"] == 0
    check_done(raised, url, out, capsys)


def check_done(raised: list[str], url: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command asks nothing more, and a lower number is refused in one line."""
    capsys.readouterr()
    before = snapshot(out), counters(url)["answered"]
    assert main(raised) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert main([part.replace("=300", "=200") for part in raised]) == 1
    told = capsys.readouterr().err
    assert "ask has made more than that: max_questions was 300, is 200. What was paid for is not dropped" in told
    assert main(raised[:4]) == 0
    assert (snapshot(out), counters(url)["answered"]) == before


def estimated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """The requests of each job that a dry run tells."""
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "nothing was sent" in told
    found = re.findall(r"^(\w+) +up to ([\d,]+) requests", told, re.MULTILINE)
    return {job: int(count.replace(",", "")) for job, count in found}


def test_a_dry_run_tells_the_difference(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a raise asks for more, job by job, before it is made; of a finished run nothing, of a refused one all."""
    url = simulate()
    out = pilot(tmp_path, url, configured, papers)
    before, cost, heard = snapshot(out), paid(out), counters(url)["answered"]
    run = ["run", str(papers), "--out", str(out)]
    nothing = estimated(run, capsys)
    assert set(nothing.values()) == {0}
    sample = estimated([*run, "--set", "evaluate.sample=14"], capsys)
    assert {job: count for job, count in sample.items() if count} == {
        **dict.fromkeys(("respond", "similarity", "judge"), 16),
        "together": 48,
    }
    raised = [*run, "--set", "ask.max_questions=300", "--set", "evaluate.sample=7"]
    told = estimated(raised, capsys)
    assert (told["ask"], told["answer"], told["critique"], told["index"]) == (200, 200, 200, 0)
    assert told["respond"] == told["similarity"] == told["judge"] == 2
    assert estimated([*run, "--set", "ask.max_questions=50"], capsys)["ask"] == 50
    assert (snapshot(out), counters(url)["answered"]) == (before, heard)
    assert main([*raised, "--no-preflight"]) == 0
    more = grown(paid(out), cost)
    assert (more["questions"], more["pairs"], more["responses"], more["verdicts"]) == (200, 200, 2, 2)
    assert 190 <= more["critiques"] <= 200
    assert set(estimated(raised, capsys).values()) == {0}


def test_kills_in_a_raise_leave_no_trace(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Killed in the middle of the new questions and of the new verdicts, it ends with the bytes of an undisturbed raise."""
    whole = pilot(tmp_path, simulate(), configured, papers)
    killed = tmp_path / "killed"
    url = simulate("--latency-mean-s", "0.2", "--latency-sigma", "1")
    shutil.copytree(whole, killed)
    for run in (whole, killed):
        text = (run / "run.toml").read_text("utf-8")
        (run / "run.toml").write_text(text.replace(url_of(text), url), "utf-8")
    more = ("--set", "ask.max_questions=300", "--set", "evaluate.sample=12", "--no-preflight")
    assert main(["run", str(papers), "--out", str(whole), *more]) == 0
    for name in ("questions", "verdicts"):
        process = start("run", papers, "--out", killed, *more)
        wait_for(partial(journalled, killed, name), process)
        process.kill()
        process.wait()
    assert main(["run", str(papers), "--out", str(killed), "--no-preflight"]) == 0
    assert snapshot(killed) == snapshot(whole)
    assert (killed / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def test_workers_raise_as_one_process_does(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Shards that other processes work on have the same bytes, and each chunk's questions were told to the model."""
    text = PILOT.replace("max_questions = 100", "max_questions = 30").replace(
        "papers_per_shard = 3", "papers_per_shard = 2"
    )
    whole, spread = pilot(tmp_path, simulate(), configured, papers, text), tmp_path / "spread"
    shutil.copytree(whole, spread)
    more = ("--set", "ask.questions_per_chunk=2", "--set", "ask.max_questions=400", "--no-preflight")
    for run, workers in ((whole, 0), (spread, 2)):
        command = ["run", str(papers), "--out", str(run), *more, "--set", f"cluster.workers={workers}"]
        assert main([*command, "--until", "curate"]) == 0
    asked = Counter(row["chunk_id"] for row in rows(whole, "questions"))
    assert set(asked.values()) == {1, 2}
    before, after = lines(whole), lines(spread)
    assert all(before[name] == after[name] for name in ("questions", "pairs", "probes", "critiques", "curated"))


def url_of(settings: str) -> str:
    return settings.split('base_url = "')[1].split('"')[0]


async def test_one_more_about_each_chunk(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """From Python: each chunk is asked for one more question, which is another one."""
    url = simulate()
    text = PILOT.replace("max_questions = 100", "")
    config = configured(url)
    config.write_text(config.read_text("utf-8").split("[parse]")[0] + text, "utf-8")
    out = tmp_path / "run"
    await run_pipeline(papers, out=out, settings=config)
    before, sides, cost, heard = lines(out), splits(out), paid(out), chats(url)
    table: dict[str, Any] = RunFolder(out).table()
    table["ask"]["questions_per_chunk"] = 2
    result = await run_pipeline(out=out, settings=table)
    chunks = sum(map(len, before["questions"].values()))
    assert result.jobs["ask"].inputs == 2 * chunks
    more = grown(paid(out), cost)
    assert more["questions"] == chunks
    assert sum(more[name] for name in CHAT) <= chats(url) - heard <= sum(more[name] for name in CHAT) + TRIED
    check_stays(before, lines(out))
    assert sides.items() <= splits(out).items()
    by_chunk: dict[str, list[str]] = {}
    for row in rows(out, "questions"):
        by_chunk.setdefault(row["chunk_id"], []).append(row["question"])
    assert all(len(set(questions)) == len(questions) for questions in by_chunk.values())
    assert result.jobs["ask"].rows == sum(map(len, by_chunk.values())) > 1.7 * chunks
    assert counters(url)["answered_twice"] <= 1  # the trial of the critic has the same words each time


@pytest.mark.parametrize("more", [(), ("--set", "ask.max_questions=180")])
def test_a_larger_sample(
    papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, more: tuple[str, ...]
) -> None:
    """The pairs that were compared stay in the sample, and only the added ones are answered and judged."""
    url = simulate()
    out = pilot(tmp_path, url, configured, papers)
    before, cost, had, heard = lines(out), paid(out), inputs(out), chats(url)
    raised = ["run", str(papers), "--out", str(out), "--set", "evaluate.sample=14", "--no-preflight", *more]
    assert main(raised) == 0
    check_stays(before, lines(out))
    assert counters(url)["answered_twice"] == 0
    new = grown(paid(out), cost)
    assert new == grown(inputs(out), had)
    assert {name: new[name] for name in ("responses", "verdicts", "similarities")} == dict.fromkeys(
        ("responses", "verdicts", "similarities"), 16
    )
    assert sum(new[name] for name in CHAT) == chats(url) - heard
    assert bool(new["questions"]) == bool(more)
    shown = json.loads((out / "results.json").read_bytes())["rows"]
    assert [row["correctness"]["total"] for row in shown] == [14, 14]
