"""The way in from Python."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from conftest import ROOT

import jobs
from engine import Call, Item, Job, Permanent, Record, ShardRows, make_id
from engine.errors import GristmillError
from jobs import BadInput, Config, JobProgress, Stop, run_pipeline
from jobs.models.chat import chat, text
from jobs.records import Chunk
from jobs.simulator import Running, Simulation, running

pytestmark = pytest.mark.processes

PAPER = min((ROOT / "examples" / "papers").glob("*.pdf"))


@pytest.fixture
async def endpoint() -> AsyncIterator[Running]:
    async with running(Simulation(latency_mean_s=0.001, latency_sigma=0)) as served:
        yield served


def settings_for(endpoint: Running, **more: Any) -> dict[str, Any]:
    place = {"base_url": endpoint.base_url, "api_key_env": ""}
    models = {role: {**place, "model": "simulated-chat"} for role in ("generator", "base", "judge")}
    models["embedding"] = {**place, "model": "simulated-embedding"}
    return {
        "models": models,
        "parse": {"workers": 1, "chunk_size": 256, "chunk_overlap": 32},
        "evaluate": {"sample": 2},
        **more,
    }


class Note(Record, frozen=True, kw_only=True):
    note: str


async def noted(chunk: Chunk, call: Call) -> list[Note]:
    if chunk.position == 1:
        raise Permanent("it is the second", kind="second")
    request = chat("generator", [{"role": "user", "content": chunk.text}], max_tokens=2000)
    return [Note(id=make_id("note", chunk.id), parent=chunk.id, note=text(await call(request)))]


def items(shard: ShardRows) -> list[Item]:
    return [Item(id=chunk.id, value=chunk) for chunk in shard["chunks"]]


def own(**other: Any) -> Job:
    given = {"name": "note", "reads": ("chunks",), "writes": "notes", "row": Note, "expand": items, "process": noted}
    return Job(**{**given, **other})


async def test_it_only_returns(endpoint: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A whole run prints nothing and leaves the handlers of signals alone; the second call finds nothing to do."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen: list[object] = []
    result = await run_pipeline(
        PAPER,
        out=tmp_path / "run",
        settings=settings_for(endpoint),
        on_progress=lambda _: seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]),
    )
    assert all(each == handlers for each in seen)
    assert seen
    assert tuple(capfd.readouterr()) == ("", "")
    assert (result.stopped, result.failed) == (False, 0)
    trials = 4  # of the preflight: a chat, one under a system prompt, a score and an embedding
    assert result.usage.requests == sum(job.usage.requests for job in result.jobs.values()) + trials
    assert {"train.jsonl", "val.jsonl", "results.json", "report.html", "run.toml", "run.log"} <= result.files.keys()
    assert result.table
    again = await run_pipeline(out=tmp_path / "run")
    assert (again.worked, again.usage, again.jobs) == (0, result.usage, result.jobs)


async def test_pairs_of_a_file(endpoint: Running, tmp_path: Path) -> None:
    """Pairs are evaluated as by the command; the file and papers together are refused."""
    file = tmp_path / "pairs.jsonl"
    pairs = [{"question": f"What is {number}?", "answer": f"It is {number}."} for number in range(4)]
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), "utf-8")
    result = await run_pipeline(pairs=file, out=tmp_path / "run", settings=settings_for(endpoint))
    assert result.jobs["deal"].rows == 4
    assert [row.correctness.total for row in result.table] == [2]
    again = await run_pipeline(pairs=str(file), out=tmp_path / "run")
    assert (again.worked, again.jobs) == (0, result.jobs)
    with pytest.raises(BadInput, match="has no papers"):
        await run_pipeline(PAPER, pairs=file, out=tmp_path / "run")


async def test_two_runs_at_once_keep_apart(endpoint: Running, tmp_path: Path) -> None:
    """Two pipelines in one loop end as each would alone, and each has a log of its own."""
    settings = settings_for(endpoint)
    folders = [tmp_path / "one", tmp_path / "other"]
    results = await asyncio.gather(
        *(run_pipeline(PAPER, out=folder, settings=settings, until="ask") for folder in folders)
    )
    assert results[0].jobs == results[1].jobs
    for folder in folders:
        events = [json.loads(line)["event"] for line in (folder / "run.log").read_text("utf-8").splitlines()]
        assert events.count("gristmill.job.finished") == 3  # deal, parse, ask


@pytest.mark.parametrize("form", ["table", "config", "path", "text"])
async def test_forms_of_settings(endpoint: Running, tmp_path: Path, form: str) -> None:
    """A table, a Config and a TOML file mean the same."""
    table = settings_for(endpoint, seed=7)
    file = tmp_path / "settings.toml"
    file.write_text(tomli_w.dumps(table), "utf-8")
    forms = {"table": table, "config": Config.model_validate(table), "path": file, "text": str(file)}
    await run_pipeline([str(PAPER)], out=str(tmp_path / "run"), settings=forms[form], until="parse")
    kept = tomllib.loads((tmp_path / "run" / "run.toml").read_text("utf-8"))
    assert (kept["seed"], kept["models"]["judge"]["base_url"]) == (7, endpoint.base_url)


async def test_progress_and_stop(endpoint: Running, tmp_path: Path) -> None:
    """Progress counts up to what there is; a stop that it asks for is no error, and the next call ends the work."""
    stop, seen = Stop(), list[JobProgress]()

    def watch(progress: JobProgress) -> None:
        seen.append(progress)
        if progress.job == "parse" and progress.done:
            stop.request()

    settings = settings_for(endpoint)
    result = await run_pipeline(
        PAPER, out=tmp_path / "run", settings=settings, until="ask", on_progress=watch, stop=stop
    )
    assert (result.stopped, result.worked, result.report, list(result.table)) == (True, 1, None, [])
    last = {progress.job: progress for progress in seen}["parse"]
    assert (last.done, last.total, last.failed) == (1, 1, 0)
    ended = await run_pipeline(out=tmp_path / "run", until="ask")
    assert not ended.stopped
    assert ended.jobs["ask"].rows > 0


async def test_an_error_in_the_callback_comes_back(endpoint: Running, tmp_path: Path) -> None:
    """What the caller's own function raises ends the run and is raised as it is; the run can go on after that."""

    def watch(progress: JobProgress) -> None:
        raise ZeroDivisionError("mine")

    settings = settings_for(endpoint)
    with pytest.raises(ZeroDivisionError, match="mine"):
        await run_pipeline(PAPER, out=tmp_path / "run", settings=settings, until="parse", on_progress=watch)
    assert (await run_pipeline(PAPER, out=tmp_path / "run", until="parse")).jobs["parse"].rows > 0


async def test_a_cancelled_run_is_released(endpoint: Running, tmp_path: Path) -> None:
    """Cancelling ends it at once, and the folder is free for the next call."""
    begun, settings = asyncio.Event(), settings_for(endpoint)
    work = run_pipeline(
        PAPER, out=tmp_path / "run", settings=settings, until="parse", on_progress=lambda _: begun.set()
    )
    task = asyncio.create_task(work)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (await run_pipeline(PAPER, out=tmp_path / "run", until="parse")).stopped


async def test_an_own_job(endpoint: Running, tmp_path: Path) -> None:
    """Its rows, failures and costs are those of a job; it is retried, made again, and stands where its rows come from."""
    folder, settings = tmp_path / "run", settings_for(endpoint)
    result = await run_pipeline(PAPER, out=folder, settings=settings, jobs=[own()], until="note")
    state = result.jobs["note"]
    assert "ask" not in {job for job, state in result.jobs.items() if state.inputs}
    assert state.failures == {"second": 1}
    assert state.rows == state.usage.requests == state.inputs - 1 > 0
    assert [(failure.job, failure.kind) for failure in result.failures] == [("note", "second")]
    assert result.usage == state.usage
    asked = endpoint.counters.requests["chat"]
    again = await run_pipeline(out=folder, jobs=[own()], until="note", retry="second")
    assert (again.failed, endpoint.counters.requests["chat"]) == (1, asked)
    anew = await run_pipeline(out=folder, jobs=[own()], until="note", redo="note")
    assert endpoint.counters.requests["chat"] == 2 * asked
    assert anew.usage.requests == 2 * state.usage.requests
    without = await run_pipeline(out=folder, until="parse")
    assert without.usage == anew.usage  # what was paid was paid
    with pytest.raises(BadInput, match="note was made with other settings"):
        await run_pipeline(out=folder, jobs=[own(fingerprint={"prompt": 2})], until="note")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (own(name="ask"), "there is already a job 'ask'"),
        (own(writes="pairs"), "'pairs', a name that is taken"),
        (own(writes="dataset"), "'dataset', a name that is taken"),
        (own(writes="../notes"), "a dataset's name is letters"),
        (own(reads=("chunk",)), "reads 'chunk'; the datasets are papers, chunks"),
    ],
)
async def test_an_own_job_that_cannot_be(endpoint: Running, tmp_path: Path, job: Job, said: str) -> None:
    """It is refused in one line before anything is written."""
    with pytest.raises(BadInput, match=said):
        await run_pipeline(PAPER, out=tmp_path / "run", settings=settings_for(endpoint), jobs=[job])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"papers": "no-such-folder"}, "there is no file or folder no-such-folder"),
        ({}, "is not a run yet: name papers"),
        ({"papers": PAPER, "settings": {"sead": 1}}, "did you mean seed"),
        ({"papers": PAPER, "settings": "no-such.toml"}, "cannot read the configuration no-such.toml"),
        ({"papers": PAPER, "until": "asks"}, "there is no job 'asks'"),
        ({"papers": PAPER, "until": "parse", "redo": "judge"}, "nothing of it would be made again"),
    ],
)
async def test_bad_input(tmp_path: Path, given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an exception with one line that says what to do, and no folder is made."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    remote = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    table = {"models": dict.fromkeys(("generator", "base", "judge", "embedding"), remote)}
    with pytest.raises(BadInput, match=said) as raised:
        await run_pipeline(**{"settings": table, **given}, out=tmp_path / "run")
    assert isinstance(raised.value, GristmillError)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_the_names() -> None:
    """Each public name is there and listed, nothing heavy is loaded before one is used, and another name is an error."""
    assert {getattr(jobs, name).__name__ for name in jobs.__all__} == set(jobs.__all__) == set(jobs._HOMES)
    assert set(jobs.__all__) <= set(dir(jobs))
    with pytest.raises(AttributeError, match="no attribute 'run_pipelines'"):
        jobs.run_pipelines  # noqa: B018 - looking it up is what fails
    code = "import sys, jobs; print([name for name in ('engine', 'asyncio', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
