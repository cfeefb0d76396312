"""The whole pipeline, as a user runs it: papers in, training data and the table out, against a simulated endpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import hostile_papers
import msgspec
import pytest

from engine.records import decode_lines
from jobs.cli.main import main
from jobs.records import Chunk, Curated, Example, Pair, Paper, Question, Response, Verdict
from jobs.tuning.chat_file import check_chat_line

pytestmark = pytest.mark.processes

KINDS = {
    "papers": Paper,
    "chunks": Chunk,
    "questions": Question,
    "pairs": Pair,
    "curated": Curated,
    "examples": Example,
    "responses": Response,
    "verdicts": Verdict,
}
CONTRACT = {
    "papers": "path sha256 bytes",
    "chunks": "paper_id title position text page_first page_last split",
    "questions": "chunk_id paper_id question split",
    "pairs": "chunk_id paper_id question answer split",
    "curated": "pair_id question answer kept reason detail split",
    "examples": "pair_id prompt answer contexts split",
    "responses": "pair_id model response contexts split",
    "verdicts": "pair_id model correctness passing feedback semantic_similarity split",
}

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    lines = [line for path in sorted((run / name).glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def snapshot(run: Path) -> dict[str, str]:
    """The checksum of every file that must not depend on kills, restarts or the place of the run."""
    kept = [*CONTRACT, "index", "probes", "similarities", "dataset"]
    files = [path for name in kept for path in (run / name).iterdir() if path.is_file() and path.suffix != ".sqlite3"]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jobs", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def journalled(run: Path, name: str) -> bool:
    """Whether an open shard of this dataset has committed something."""
    for path in (run / name).glob("*.checkpoint.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size:
                return True
    return False


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


def counters(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/counters") as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, Any])


def test_a_whole_run(
    example_papers: Path,
    tmp_path: Path,
    simulate: Simulate,
    configured: Configured,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Papers become every dataset of the contract, files that load where they are used, and the table; once."""
    out, url = tmp_path / "run", simulate()
    arguments = ["run", str(example_papers), "--out", str(out), "--config", str(configured(url))]
    assert main(arguments) == 0
    assert "base, validation" in capsys.readouterr().out
    check_rows(out)
    check_provenance(out)
    check_outputs(out)
    results = json.loads((out / "results.json").read_bytes())
    assert [row["name"] for row in results["rows"]] == ["base, validation", "base, training"]
    assert set(results["rows"][0]["correctness"]) == {"mean", "low", "high", "scored", "total"}
    assert results["usage"]["total"]["requests"] > 0
    before = snapshot(out), counters(url)["answered"]
    assert main(arguments[:4]) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert (snapshot(out), counters(url)["answered"]) == before


def check_rows(run: Path) -> None:
    for name, fields in CONTRACT.items():
        found = rows(run, name)
        assert found, name
        assert {"id", "parent", *fields.split()} <= set(found[0])
        assert len({row["id"] for row in found}) == len(found)
        for path in (run / name).glob("*.jsonl"):
            assert list(decode_lines(path.read_bytes(), KINDS[name]))
            seal = json.loads(path.with_suffix(".done.json").read_bytes())
            assert seal["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert seal["rows"] == path.read_bytes().count(b"\n")


def check_provenance(run: Path) -> None:
    """Every row leads back, by parent, to a page of a paper; and no chunk serves both sides."""
    parents = {row["id"]: row["parent"] for name in CONTRACT for row in rows(run, name)}
    papers = {row["id"] for row in rows(run, "papers")}
    for name in CONTRACT:
        for row in rows(run, name):
            at = row["id"]
            while parents[at]:
                at = parents[at]
            assert at in papers
    sides: dict[str, set[str]] = {}
    for name in ("questions", "pairs"):
        for row in rows(run, name):
            sides.setdefault(row["chunk_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "val"}


def check_outputs(run: Path) -> None:
    """The four outputs load where they are used."""
    with warnings.catch_warnings(record=True):  # the class warns of itself on every use, past every filter
        from llama_index.core.evaluation import QueryResponseDataset

        loaded = {
            side: QueryResponseDataset.from_json(str(run / "dataset" / f"qa_pairs_{side}.json"))
            for side in ("train", "val")
        }
    for side, dataset in loaded.items():
        pairs = [row for row in rows(run, "curated") if row["split"] == side and row["kept"]]
        assert len(dataset.qr_pairs) == len(pairs) > 0
    for side in ("train", "val"):
        lines = (run / "dataset" / f"{side}.jsonl").read_bytes().splitlines()
        assert len(lines) == sum(row["split"] == side for row in rows(run, "examples"))
        for line in lines:
            check_chat_line(line)


@pytest.mark.papers
def test_every_file_is_accounted_for(
    real_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Good and nasty papers together: one row a file, chunks or a reason for each, exit code 3, and a finished table."""
    out = tmp_path / "run"
    config = configured(simulate(), "[ask]\nmax_questions = 60")
    folders = [str(real_papers / "good"), str(real_papers / "nasty")]
    assert main(["run", *folders, "--out", str(out), "--config", str(config), "--set", "parse.chunk_size=1024"]) == 3
    files = [path for folder in folders for path in Path(folder).iterdir() if path.suffix.lower() == ".pdf"]
    papers = {row["id"]: row["path"] for row in rows(out, "papers")}
    assert sorted(papers.values()) == sorted(str(file.resolve()) for file in files)
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    failed = {failure["id"]: failure for failure in status["failures"] if failure["job"] == "parse"}
    parsed = {row["paper_id"] for row in rows(out, "chunks")}
    assert failed.keys() | parsed == papers.keys()
    assert not failed.keys() & parsed
    assert all(failure["reason"] and failure["paper"] == papers[id_] for id_, failure in failed.items())
    assert len(rows(out, "pairs")) <= 60
    assert {"duplicate", "not_pdf", "encrypted", "no_text", "damaged", "no_pages", "empty_file"} == {
        failure["kind"] for failure in failed.values()
    }


def test_papers_that_harm_their_reader(
    example_papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that is killed, one that never ends and one that takes 8 GiB: three failures, and all others are done."""
    monkeypatch.setattr("jobs.opening.WARM_UP", hostile_papers.INITIALIZER)
    out, papers = tmp_path / "run", tmp_path / "hostile"
    papers.mkdir()
    hostile_papers.write_papers(papers)
    bounds = ("parse.timeout_s=4", "parse.memory_mb=1024", "parse.workers=1")
    settings = [part for bound in bounds for part in ("--set", bound)]
    assert main(["run", str(papers), str(example_papers), "--out", str(out), "--until", "parse", *settings]) == 3
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    failures = json.loads(capsys.readouterr().out)["failures"]
    found = {Path(failure["paper"]).stem: (failure["kind"], failure["reason"]) for failure in failures}
    assert found.keys() == hostile_papers.HARM.keys()
    assert found["killed"][0] == "crashed"
    assert "SIGKILL" in found["killed"][1]
    assert found["endless"] == ("timed_out", "no result within 4 s")
    assert found["greedy"][0] == "out_of_memory"
    parsed = {row["paper_id"] for row in rows(out, "chunks")}
    assert parsed == {row["id"] for row in rows(out, "papers") if Path(row["path"]).stem not in hostile_papers.HARM}
    assert len(parsed) == len(list(example_papers.iterdir()))


def test_kills_in_ask_and_judge_leave_no_trace(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Killed in the middle of `ask` and of `judge`, the run ends with the bytes of an undisturbed one."""
    config = configured(simulate("--latency-mean-s", "0.4", "--latency-sigma", "1"))
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main(["run", str(example_papers), "--out", str(undisturbed), "--config", str(config)]) == 0
    for name in ("questions", "verdicts"):
        process = start("run", example_papers, "--out", killed, "--config", config)
        wait_for(partial(journalled, killed, name), process)
        process.kill()
        process.wait()
        assert not list((killed / name).glob("00001.done.json"))
    assert main(["run", str(example_papers), "--out", str(killed), "--config", str(config)]) == 0
    assert snapshot(killed) == snapshot(undisturbed)
    assert (killed / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()


def test_a_signal_drains_and_is_resumed(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """SIGINT ends with code 130 and nothing in flight lost: the resumed run asks nothing twice."""
    url = simulate("--latency-mean-s", "0.4", "--latency-sigma", "1")
    out, config = tmp_path / "run", configured(url)
    process = start("run", example_papers, "--out", out, "--config", config)
    wait_for(partial(journalled, out, "pairs"), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert main(["run", str(example_papers), "--out", str(out)]) == 0
    assert counters(url)["answered_twice"] == 0


def test_fine_tuning_between(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """Upload, job, poll, tuned model: the table has two rows a split, and the base is not asked again for it."""
    url = simulate("--tuning-run-s", "0.2")
    out, config = tmp_path / "run", configured(url)
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    base = [row for row in rows(out, "responses") if row["model"] == "base"]
    asked = counters(url)["answered"]
    settings = ['finetune.backend="openai"', "finetune.poll_s=0.1"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main(["run", str(example_papers), "--out", str(out), *arguments]) == 0
    responses = rows(out, "responses")
    assert [row for row in responses if row["model"] == "base"] == base
    assert Counter(row["model"] for row in responses) == {"base": len(base), "tuned": len(base)}
    models = json.loads((out / "models.json").read_bytes())
    assert models["models"]["tuned"].startswith("ft:simulated-chat")
    names = [row["name"] for row in json.loads((out / "results.json").read_bytes())["rows"]]
    assert names == ["base, validation", "tuned, validation", "base, training", "tuned, training"]
    assert counters(url)["answered"] - asked < 3 * len(base)
    assert "tuned, training" in capsys.readouterr().out


@pytest.mark.parametrize("approximate_from", [1, 50_000])
def test_two_clones_make_the_same_bytes(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, approximate_from: int
) -> None:
    """Same papers in another place, same configuration, same answers: identical bytes in dataset/, with an index too."""
    indexed = ["--set", f"index.approximate_from={approximate_from}"]
    config = configured(simulate("--latency-mean-s", "0.02", "--latency-sigma", "1"))
    made = []
    for name in ("one", "two"):
        papers = shutil.copytree(example_papers, tmp_path / name / "papers")
        out = tmp_path / name / "run"
        command = ["run", str(papers), "--out", str(out), "--config", str(config), "--until", "export", *indexed]
        assert main(command) == 0
        assert (out / "index" / "store" / "inverted").exists() == (approximate_from == 1)
        made.append({path.name: path.read_bytes() for path in (out / "dataset").iterdir()})
    assert made[0] == made[1]
    assert made[0]["train.jsonl"]


def test_everything_that_data_can_have(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """With quotes, every check and distractors: each row says what was done to it, and only kept pairs are used."""
    out, url = tmp_path / "run", simulate()
    sections = (
        "[answer]\nquotes = true",
        "[curate]\nround_trip = true\ncritic = true\ncritic_passing = 2",
        '[augment]\ndistractors = 2\nwithout_source = 0.5\nwithout_source_answer = "abstain"\nabstention = "Not here."',
    )
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(url, *sections))]) == 0
    texts = {row["id"]: row["text"] for row in rows(out, "chunks")}
    pairs = {row["id"]: row for row in rows(out, "pairs")}
    for row in pairs.values():
        assert row["quotes"]
        for quote in row["quotes"]:
            assert " ".join(texts[row["chunk_id"]][quote["start"] : quote["end"]].split()) in row["answer"]
    curated = rows(out, "curated")
    assert [row["pair_id"] for row in curated] == list(pairs)
    assert {"critic", "not_found"} <= {row["reason"] for row in curated}
    kept = {row["pair_id"] for row in curated if row["kept"]}
    examples = rows(out, "examples")
    assert {row["pair_id"] for row in examples} == kept
    assert {row["pair_id"] for row in rows(out, "responses")} <= kept
    trained = [[context["role"] for context in row["contexts"]] for row in examples if row["split"] == "train"]
    assert {len(roles) - roles.count("distractor") for roles in trained} == {0, 1}
    assert all(roles.count("distractor") == 2 for roles in trained)
    assert [row["abstains"] for row in examples if row["split"] == "train"] == [
        "source" not in roles for roles in trained
    ]
    assert all((row["answer"] == "Not here.") == row["abstains"] for row in examples)
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    jobs = {job["job"]: job for job in status["jobs"]}
    assert (jobs["augment"]["usage"]["requests"], jobs["curate"]["usage"]["requests"]) == (0, 0)
    assert sum(status["rejected"].values()) == len(pairs) - len(kept)
    coverage = json.loads((out / "results.json").read_bytes())["coverage"]
    assert coverage["rejected"] == status["rejected"]
    before = snapshot(out), counters(url)["answered"]
    assert main(run) == 0
    assert (snapshot(out), counters(url)["answered"]) == before


def test_failures_are_retried_on_request(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Refused records are counted and listed; `retry` asks only for them, and what follows from them is made."""
    out = tmp_path / "run"
    bad = simulate("--fault-filter", "0.2", "--fault-sticky", "1")
    run = ["run", str(example_papers), "--out", str(out), "--config", str(configured(bad))]
    assert main([*run, "--no-preflight"]) == 3
    pairs = {row["id"]: row for row in rows(out, "pairs")}
    good = simulate()
    text = (out / "run.toml").read_text("utf-8")
    (out / "run.toml").write_text(text.replace(bad, good), "utf-8")
    assert main(["retry", str(out)]) == 0
    after = {row["id"]: row for row in rows(out, "pairs")}
    assert pairs.items() < after.items()
    curated = {row["pair_id"]: row["kept"] for row in rows(out, "curated")}
    assert curated.keys() == after.keys()
    assert {row["pair_id"] for row in rows(out, "examples")} == {id_ for id_, kept in curated.items() if kept}


def test_new_papers_are_added(example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured) -> None:
    """More papers become new shards; what was made of the old ones stays as it is."""
    config, out, papers = configured(simulate()), tmp_path / "run", tmp_path / "papers"
    papers.mkdir()
    first, *others = sorted(example_papers.iterdir())
    shutil.copy(first, papers)
    assert main(["run", str(papers), "--out", str(out), "--config", str(config), "--until", "answer"]) == 0
    before = snapshot_of(out / "pairs")
    for path in others:
        shutil.copy(path, papers)
    assert main(["run", str(papers), "--out", str(out)]) == 0
    assert before.items() < snapshot_of(out / "pairs").items()
    assert len({row["paper_id"] for row in rows(out, "pairs")}) == 3


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("0*")}


def test_a_cap_is_spread_evenly(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """`max_questions` gives each chunk its share, and no question is generated to be thrown away."""
    out = tmp_path / "run"
    config = configured(simulate(), "[ask]\nmax_questions = 10")
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config), "--until", "ask"]) == 0
    chunks = [row["id"] for row in rows(out, "chunks")]
    asked = sorted(chunks.index(row["chunk_id"]) for row in rows(out, "questions"))
    assert len(asked) == 10
    gaps = {later - earlier for earlier, later in pairwise(asked)}
    assert gaps <= {len(chunks) // 10, len(chunks) // 10 + 1}


def test_changed_settings(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed meaning is refused with what changed; a changed limit is not; --redo makes it anew."""
    out, config = tmp_path / "run", configured(simulate())
    run = ["run", str(example_papers), "--out", str(out), "--until", "ask"]
    assert main([*run, "--config", str(config)]) == 0
    capsys.readouterr()
    assert main([*run, "--set", "ask.questions_per_chunk=1"]) == 1
    told = capsys.readouterr().err
    assert "questions_per_chunk was 2, is 1" in told
    assert "--redo ask" in told
    free = ("max_concurrency=3", "timeout_s=50", "batch=true", 'batch_window="7d"', "batch_rows=9", "batch_rounds=1")
    assert main([*run, *(word for key in free for word in ("--set", f"models.generator.{key}"))]) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    online = ["--set", "models.generator.batch=false"]
    assert main([*run, *online, "--set", "ask.questions_per_chunk=1", "--redo", "ask"]) == 0
    assert len(rows(out, "questions")) == len(rows(out, "chunks"))


def test_a_dry_run_sends_nothing(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """--dry-run parses and estimates; the endpoint hears nothing, and the real run needs no more than was said."""
    url = simulate()
    run = ["run", str(example_papers), "--out", str(tmp_path / "run"), "--config", str(configured(url))]
    assert main([*run, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "nothing was sent" in told
    assert counters(url)["answered"] == 0
    bound = int(told.split("together")[1].split()[2].replace(",", ""))
    assert main(run) == 0
    assert counters(url)["answered"] <= bound


def test_a_dry_run_changes_nothing_of_a_run(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a run that is there, --dry-run keeps rows and settings, and is refused beside --redo."""
    out = tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out)]
    assert main([*run, "--config", str(configured(simulate()))]) == 0
    before = snapshot(out), (out / "run.toml").read_bytes()
    assert main([*run, "--dry-run", "--set", "ask.questions_per_chunk=5"]) == 0
    assert main([*run, "--dry-run", "--redo", "ask"]) == 1
    assert main([*run, "--until", "parse", "--redo", "ask"]) == 1
    assert (snapshot(out), (out / "run.toml").read_bytes()) == before
    capsys.readouterr()
    assert main(run) == 0
    assert "nothing is left to do" in capsys.readouterr().err


def test_what_fails_on_the_way_costs_its_cell_only(
    example_papers: Path, tmp_path: Path, simulate: Simulate, configured: Configured
) -> None:
    """Refused answers, similarities and judgements stand as unscored in the table, and `retry` fills them in."""
    good = simulate()
    config = configured(good)
    for role in ("base", "judge", "embedding"):
        bad = simulate("--fault-filter", "0.3", "--fault-sticky", "1", "--seed", "3")
        head, section = config.read_text("utf-8").split(f"[models.{role}]")
        config.write_text(f"{head}[models.{role}]{section.replace(good, bad, 1)}", "utf-8")
    out = tmp_path / "run"
    run = ["run", str(example_papers), "--out", str(out), "--set", "ask.questions_per_chunk=1"]
    assert main([*run, "--config", str(config), "--no-preflight"]) == 3
    cells = [row["correctness"] for row in json.loads((out / "results.json").read_bytes())["rows"]]
    assert all(cell["total"] == 8 and 0 < cell["scored"] < 8 for cell in cells)
    (out / "run.toml").write_text(re.sub(r"http://[^\"]*", good, (out / "run.toml").read_text("utf-8")), "utf-8")
    assert main(["retry", str(out)]) == 0
    for row in json.loads((out / "results.json").read_bytes())["rows"]:
        for metric in ("correctness", "semantic_similarity"):
            assert row[metric]["scored"] == row[metric]["total"] == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "{empty}", "--out", "{out}"], "no papers found"),
        (["run", "{tmp}/nowhere", "--out", "{out}"], "there is no file or folder"),
        (["run", "{papers}", "--out", "{out}", "--set", "ask.max_question=3"], "did you mean ask.max_questions"),
        (["run", "{papers}", "--out", "{out}", "--set", "asks.max_questions=3"], "did you mean ask"),
        (["run", "{papers}", "--out", "{out}", "--set", "parse.chunk_size=none"], "parse.chunk_size"),
        (["run", "{papers}", "--out", "{out}", "--set", "models.judge.model=m"], "MISSING_KEY"),
        (["run", "{papers}", "--out", "{out}", "--config", "{tmp}/no.toml"], "cannot read the configuration"),
        (["run", "{papers}", "--out", "{strange}"], "is not a run"),
        (["status", "{empty}"], "is not a run"),
        (["export", "{empty}", "--format", "openai", "--to", "{out}"], "is not a run"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    said: str,
    example_papers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the user got wrong is one line that says what to do, exit code 1, and nothing is written."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "diary.txt").write_text("mine", "utf-8")
    names = {
        "empty": tmp_path / "empty",
        "out": tmp_path / "out",
        "papers": example_papers,
        "strange": tmp_path / "strange",
        "tmp": tmp_path,
    }
    assert main([argument.format(**names) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert said.replace("MISSING_KEY", "OPENAI_API_KEY") in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "strange").iterdir()] == ["diary.txt"]


def test_an_endpoint_that_refuses(
    example_papers: Path, tmp_path: Path, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server at the address: one line, exit code 1, nothing marked failed."""
    out = tmp_path / "run"
    config = configured("http://127.0.0.1:9/v1")
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gristmill:")]
    assert len(lines) == 1
    assert "check base_url" in lines[0]
    assert not any(path.stat().st_size for path in (out / "questions").glob("*.checkpoint.jsonl"))


def test_a_key_is_never_written(
    example_papers: Path,
    tmp_path: Path,
    simulate: Simulate,
    configured: Configured,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key reaches no file and no output, neither when it works nor when it is refused."""
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("GRISTMILL_TEST_KEY", key)
    url = simulate("--api-key-env", "GRISTMILL_TEST_KEY")
    config = configured(url)
    config.write_text(
        config.read_text("utf-8").replace('api_key_env = ""', 'api_key_env = "GRISTMILL_TEST_KEY"'), "utf-8"
    )
    out = tmp_path / "run"
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    monkeypatch.setenv("GRISTMILL_TEST_KEY", f"{key}-wrong")
    assert main(["run", str(example_papers), "--out", str(tmp_path / "two"), "--config", str(config)]) == 1
    captured = capsys.readouterr()
    assert "refuses the key" in captured.err
    assert key not in captured.out + captured.err
    for path in [*out.rglob("*"), *(tmp_path / "two").rglob("*")]:
        assert path.is_dir() or key.encode() not in path.read_bytes(), path


def test_help_is_quick_to_import() -> None:
    """`gristmill --help` imports nothing heavy."""
    code = (
        "import sys, jobs.cli.main\n"
        "try: jobs.cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'openai', 'llama_index', 'lancedb', 'pymupdf', 'numpy', 'pydantic', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=os.environ)
