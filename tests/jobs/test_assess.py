from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from samples import response, sealed

from engine.datasets import Dataset
from engine.jobs import Job
from engine.runner import run
from engine.signals import Stop
from engine.testing import ScriptedCall, scripted
from jobs.assess import assess
from jobs.records import Assessment, Response

ONE, TWO = response("r1", text="Two stones"), response("r2", text="Sand.", split="train")


def assessing(written: Dataset[Assessment], *metrics: str) -> Job:
    return assess(metrics=metrics, written=written, fingerprint={}, slots=2)


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Dataset[Any]]:
    return {
        "responses": sealed(tmp_path / "responses", Response, [ONE, TWO]),
        "assessments": Dataset(tmp_path / "assessments", Assessment),
    }


async def assessed(datasets: dict[str, Dataset[Any]], call: ScriptedCall, *metrics: str) -> list[Assessment]:
    fresh = {name: Dataset[Any](dataset.folder, dataset.row) for name, dataset in datasets.items()}
    job = assessing(fresh["assessments"], *metrics)
    await run([job], fresh, call, stop=Stop(), hook=lambda _: None)
    assert call.left == 0
    return list(fresh["assessments"].rows())


async def test_words_are_compared_without_a_request(datasets: dict[str, Dataset[Any]]) -> None:
    """A metric that compares words has a row for each response, and asks nobody."""
    rows = await assessed(datasets, scripted(), "exact_match", "token_f1")
    assert [(row.parent, row.metric, row.score) for row in rows] == [
        ("r1", "exact_match", 1.0),
        ("r1", "token_f1", 1.0),
        ("r2", "exact_match", 0.0),
        ("r2", "token_f1", 0.0),
    ]
    assert (rows[2].pair_id, rows[2].model, rows[2].split, rows[2].passing) == ("pair of r2", "base", "train", None)


async def test_a_metric_more_or_less(datasets: dict[str, Dataset[Any]]) -> None:
    """Metrics that are switched on add rows, and those that are switched off keep theirs: no row is made stale."""
    before = await assessed(datasets, scripted(), "token_f1")
    after = await assessed(datasets, scripted(), "rouge_l")
    assert [row.metric for row in after] == ["rouge_l", "token_f1"] * 2
    assert [row for row in after if row.metric == "token_f1"] == before
    datasets["responses"].write_sealed(1, [response("r3")])
    added = await assessed(datasets, scripted(), "rouge_l")
    assert [row.metric for row in added if row.parent == "r3"] == ["rouge_l"]
