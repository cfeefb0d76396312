from __future__ import annotations

from pathlib import Path

import pytest
from judged_run import REMOTE, judged_run
from samples import chunk, sealed

from engine.datasets import Dataset
from engine.requests import Usage
from engine.shards import Entry, Failure
from engine.writers import ShardWriter
from jobs.cli.dry_run import print_estimate
from jobs.cli.estimate import corpus_of, estimate
from jobs.config import Config
from jobs.records import Chunk
from jobs.report.collect import job_states, judge_note, report_data
from jobs.report.failure_list import failures
from jobs.run.configfile import validate
from jobs.run.folder import RunFolder


@pytest.fixture
async def folder(tmp_path: Path) -> RunFolder:
    return await judged_run(tmp_path / "[x] run")


def test_the_figures_of_sealed_jobs(folder: RunFolder) -> None:
    """A job's state adds up its seals: inputs, rows, failures by kind, what was paid."""
    states = {state.job: state for state in job_states(folder.datasets())}
    assert list(states) == ["parse", "ask", "answer", "index", "augment", "respond", "similarity", "judge"]
    parse = states["parse"]
    assert (parse.sealed, parse.open, parse.inputs, parse.rows) == (1, 0, 3, 2)
    assert parse.failures == {"damaged": 1}
    assert parse.usage == Usage(requests=3, prompt_tokens=30, completion_tokens=15)
    assert (states["similarity"].sealed, states["similarity"].inputs) == (0, 0)


async def test_the_figures_of_an_open_shard(folder: RunFolder) -> None:
    """What an open shard has committed counts too, and looking changes nothing."""
    dataset = folder.datasets()["similarities"]
    dataset.folder.mkdir()
    async with ShardWriter(dataset.shard(0)) as writer:
        await writer.append(Entry(id="r0", position=0, rows=1, end=0, usage=Usage(requests=1)), [b"{}\n"])
        cut = Failure(kind="truncated", reason="too long")
        await writer.append(Entry(id="r1", position=1, end=0, usage=Usage(requests=1), error=cut))
        before = {path.name: path.read_bytes() for path in dataset.folder.iterdir()}
        state = next(state for state in job_states(folder.datasets()) if state.job == "similarity")
        assert {path.name: path.read_bytes() for path in dataset.folder.iterdir()} == before
    assert (state.sealed, state.open, state.inputs, state.rows) == (0, 1, 2, 1)
    assert (state.failures, state.usage.requests) == ({"truncated": 1}, 2)
    last = list(failures(folder.datasets()))[-1]
    assert (last.job, last.id, last.reason) == ("similarity", "r1", "too long")


def test_failures(folder: RunFolder) -> None:
    """Every failure is listed with its reason; a paper's with its path."""
    found = [(each.job, each.kind, each.id, each.reason, each.paper) for each in failures(folder.datasets())]
    assert found == [
        ("parse", "damaged", "p2", "it is [damaged]", "/in/[x]/p2.pdf"),
        ("ask", "content_filter", "c2", "withheld", ""),
    ]


def test_the_reports_data(folder: RunFolder) -> None:
    """The report gets rows for each model and split, with what was not scored counted, and the coverage."""
    models = {"base": "small", "tuned": "ft:small"}
    data = report_data(REMOTE, folder, folder.datasets(), models, "the weights", lambda row: True)
    assert [row.name for row in data.rows] == [
        "base, validation",
        "tuned, validation",
        "base, training",
        "tuned, training",
    ]
    unscored = data.rows[1].correctness
    assert (unscored.scored, unscored.total) == (0, 1)
    coverage = data.coverage
    assert (coverage.papers, coverage.papers_parsed, coverage.papers_failed) == (3, 2, {"damaged": 1})
    assert (coverage.chunks, coverage.questions, coverage.pairs, coverage.examples) == (2, 1, 2, 2)
    assert (coverage.train, coverage.val, coverage.evaluated) == (1, 1, 2)
    roles = {"generator": "gen", "judge": "strict", "embedding": "vectors", "base": "small", "tuned": "ft:small"}
    assert data.models == roles
    priced = {job.job: job.priced for job in data.jobs}
    assert (priced["parse"], priced["ask"], priced["respond"]) == (True, True, False)
    assert data.judge_note == ""


def test_the_models_of_the_embedded_default(folder: RunFolder) -> None:
    """The report names the weights behind "local", and the embedding for what it is."""
    config = Config().resolved(papers=3)
    data = report_data(config, folder, folder.datasets(), {"base": "Tiny-1B"}, "Tiny-1B", lambda row: True)
    assert (data.models["generator"], data.models["embedding"]) == ("Tiny-1B", "all-MiniLM-L6-v2")


def test_what_is_said_of_the_judge() -> None:
    """A reader is told when correctness is not what its name says, and when a model judges itself."""
    assert "the same model that wrote the questions" in judge_note(Config().resolved(papers=3))
    other = judge_note(validate({"models": {"generator": {"model": "gen"}}}).resolved(papers=3))
    assert "demo judge" in other
    assert "same model" not in other
    assert "cannot rate" in judge_note(validate({"evaluate": {"method": "score"}}))
    assert judge_note(REMOTE) == ""


# The estimate


def corpus(folder: Path, count: int) -> Dataset[Chunk]:
    return sealed(folder, Chunk, [chunk(f"c{number}", text="x" * 400) for number in range(count)])


def test_the_estimate(tmp_path: Path) -> None:
    """Requests are bounded by what each job asks: a call a chunk, one an answer, one a batch, one an evaluated pair."""
    found = estimate(REMOTE, corpus(tmp_path, 30))
    assert {job: usage.requests for job, usage in found.items()} == {
        "ask": 30,
        "answer": 60,
        "index": 3,
        "probe": 6,
        "respond": 10,
        "similarity": 10,
        "judge": 10,
    }
    assert found["ask"].prompt_tokens == 30 * (100 + 80)
    assert found["ask"].cost_usd == pytest.approx((30 * 180 + 2 * 60 * 25) / 1e6)
    assert found["judge"].cost_usd == 0


def test_the_estimate_of_other_settings(tmp_path: Path) -> None:
    """A cap bounds the questions and what follows, evidence answers at once, fine-tuning doubles what is evaluated."""
    many = corpus(tmp_path / "many", 30)
    capped = validate({**REMOTE.model_dump(), "ask": {"recipe": "evidence", "max_questions": 4}})
    found = estimate(capped, many)
    assert [found[job].requests for job in ("ask", "answer", "probe", "respond")] == [4, 0, 1, 4]
    tuned = validate({**REMOTE.model_dump(), "finetune": {"backend": "openai"}})
    assert estimate(tuned, many)["respond"].requests == 20
    assert not any(usage.requests for usage in estimate(REMOTE, corpus(tmp_path / "none", 0)).values())


def test_the_estimate_of_metrics(tmp_path: Path) -> None:
    """A metric that asks the judge costs a request an answer, with the contexts in its prompt; comparing words is free."""
    metrics = {"sample": 5, "metrics": ["token_f1", "faithfulness", "llama:GuidelineEvaluator"]}
    found = estimate(validate({**REMOTE.model_dump(), "evaluate": metrics}), corpus(tmp_path, 30))
    assert found["assess"].requests == 2 * found["judge"].requests == 20
    assert found["assess"].prompt_tokens == 2 * found["judge"].prompt_tokens + 20 * 100


def test_the_estimate_of_candidates(tmp_path: Path) -> None:
    """Every candidate answers what the base answers, at its own price; each answer is judged."""
    candidates = {"dear": {"model": "big", "input_usd_per_million": 10, "output_usd_per_million": 10}, "free": {}}
    models = {**REMOTE.model_dump()["models"], "candidates": candidates}
    found = estimate(validate({**REMOTE.model_dump(), "models": models}), corpus(tmp_path, 30))
    assert [found[job].requests for job in ("respond", "similarity", "judge")] == [30, 30, 30]
    assert found["respond"].cost_usd == pytest.approx(10 * (100 + 80 + 100) * 10 / 1e6)


def test_the_estimate_without_retrieval(tmp_path: Path) -> None:
    """Asking the bare questions too doubles the answers, with prompts that hold no chunk."""
    twice = validate({**REMOTE.model_dump(), "evaluate": {"sample": 5, "without_retrieval": True}})
    found = estimate(twice, corpus(tmp_path, 30))
    assert [found[job].requests for job in ("respond", "similarity", "judge")] == [20, 20, 20]
    assert found["respond"].prompt_tokens == 10 * (100 + 80) + 10 * 80


def test_the_printed_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a role, a line a job and their sum; models without a price are named, and that nothing was sent."""
    print_estimate(REMOTE, corpus_of(corpus(tmp_path, 30)))
    *told, together, alone, batched, chosen, untimed, unpriced, last = capsys.readouterr().out.splitlines()
    roles, jobs = told[:4], told[4:]
    assert [line.partition(":")[0] for line in roles] == ["generator", "base", "judge", "embedding"]
    assert len(jobs) == 7
    assert "up to 129 requests" in together
    assert alone == "request by request: as fast as the endpoint answers"
    assert batched.startswith("all in batches: mostly 35 min to 5 h; 5 batches follow each other")
    assert "batch = true" in chosen
    assert "no limits are configured" in untimed
    assert "no price configured for small, strict, vectors" in unpriced
    assert last == "nothing was sent"
