"""The registry declares every job once, and everything else agrees with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from built_pipeline import built

from engine.datasets import Dataset
from engine.job import Pipeline, Step
from engine.records import Record
from engine.requests import Usage
from engine.shards import Entry
from engine.writers import ShardWriter
from jobs import registry
from jobs.cli.estimate import estimate
from jobs.config import Config
from jobs.report.collect import job_states
from jobs.run.folder import RunFolder

PAPERS = (
    "deal parse ask answer index probe critique curate augment export finetune "
    "respond similarity judge assess rejudge prefer report"
).split()
PAIRS = "deal respond similarity judge assess rejudge prefer report".split()
"""The jobs and steps of both kinds of run, as users know them from ``--until`` and the status."""

EVERYTHING = Config.model_validate(
    {
        "curate": {"critic": True, "round_trip": True},
        "evaluate": {"metrics": ["token_f1", "faithfulness"], "rejudge": 2, "pairwise": 2},
        "split": {"by": "paper"},
        "ask": {"recipe": "llama-index"},
    }
)
"""A configuration that leaves out no optional job."""


def pipeline(folder: Path, *, pairs: str = "") -> Pipeline:
    config = EVERYTHING.model_copy(update={"evaluate": EVERYTHING.evaluate.model_copy(update={"pairs": pairs})})
    return built(config, folder)


@pytest.mark.parametrize(("beginning", "pairs", "names"), [("papers", "", PAPERS), ("pairs", "pairs.jsonl", PAIRS)])
def test_the_pipeline_is_what_is_declared(
    tmp_path: Path, beginning: registry.Beginning, pairs: str, names: list[str]
) -> None:
    """With every option on, the pipeline holds each declared job in order, and nothing else."""
    assert list(registry.declared(beginning)) == names
    assert [step.name for step in pipeline(tmp_path, pairs=pairs)] == names


@pytest.mark.parametrize("lost", registry.JOBS, ids=lambda job: f"{job.name}-{job.runs[0]}")
def test_a_job_without_a_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: registry.Declaration
) -> None:
    """A pipeline that holds a job without a line in the registry is refused, whichever line it is."""
    pairs = "" if "papers" in lost.runs else "pairs.jsonl"
    whole = pipeline(tmp_path, pairs=pairs)
    monkeypatch.setattr(registry, "JOBS", tuple(job for job in registry.JOBS if job is not lost))
    with pytest.raises(ValueError, match="does not declare"):
        registry.check(whole, lost.runs[0])


def test_what_does_not_agree_with_the_registry_is_refused(tmp_path: Path) -> None:
    """A misspelt name to wait for, another dataset, another row type, another order and a lost job each are an error."""
    whole = list(pipeline(tmp_path))

    def changed(name: str, **fields: Any) -> Pipeline:
        return [replace(step, **fields) if step.name == name else step for step in whole]

    cases = {
        "waits for parsse": changed("ask", waits_for=("parsse",)),
        "does not write questions": changed("ask", writes="pairs"),
        "does not write pairs": changed("answer", row=registry.ROWS["chunks"]),
        "order": [whole[1], whole[0], *whole[2:]],
        "lacks judge": [step for step in whole if step.name != "judge"],
        "does not declare polish": [*whole, Step(name="polish", run=whole[0].run)],  # type: ignore[union-attr]
    }
    for message, wrong in cases.items():
        with pytest.raises(ValueError, match=message):
            registry.check(wrong, "papers")


async def test_the_budget_counts_every_dataset(tmp_path: Path) -> None:
    """What each declared dataset and a user's own have cost, sealed or still open, is in what a resumed run has paid."""
    folder = RunFolder(tmp_path / "run")
    datasets = [*folder.datasets().values(), Dataset(folder.path / "own", Record)]
    for number, dataset in enumerate(datasets):
        for index, sealed in enumerate((True, False)):
            shard = dataset.shard(index)
            dataset.folder.mkdir(parents=True, exist_ok=True)
            async with ShardWriter(shard, crowd=1) as writer:
                usage = Usage(requests=1, cost_usd=2.0**number)
                await writer.append(Entry(id="a", position=0, end=0, usage=usage))
                if sealed:
                    await writer.seal({"a": 0}, source="", dropped={})
    paid = folder.paid()
    assert paid.requests == 2 * (len(registry.ROWS) + 1)
    assert paid.cost_usd == 2 * (2.0 ** (len(registry.ROWS) + 1) - 1)
    folder.add_discarded(datasets[0].usage())
    (folder.path / "papers").rename(folder.path / "papers.discarded")  # a crash in the middle of --redo
    assert folder.paid() == paid


def test_every_declared_job_is_in_the_status(tmp_path: Path) -> None:
    """A job that makes rows has a line in status and report as soon as its dataset is there."""
    datasets = RunFolder(tmp_path).datasets()
    for dataset in datasets.values():
        dataset.folder.mkdir(parents=True)
    made = [job.name for job in registry.declared("papers").values() if job.writes and job.name != "deal"]
    assert [state.job for state in job_states(datasets)] == made


def test_every_job_that_asks_a_model_is_in_the_estimate(tmp_path: Path) -> None:
    """``--dry-run`` names each job that calls a role; `augment` asks for nothing where `probe` has embedded the question."""
    asking = {job.name for job in registry.JOBS if job.role} - {"augment"}
    assert set(estimate(EVERYTHING, RunFolder(tmp_path).datasets()["chunks"])) == asking


def test_the_command_line_offers_the_declared_jobs() -> None:
    """A run stops after any job or step, and makes again the rows of any job that has some."""
    assert registry.stoppable()[0] == "parse"
    assert registry.stoppable()[-1] == "report"
    assert set(registry.stoppable()) - set(registry.redoable()) == {"export", "finetune", "report"}
