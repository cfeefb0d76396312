from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from samples import response, sealed

from engine.datasets import Dataset
from jobs.evaluation.judge import Judgement, verdict
from jobs.records import Assessment, Response, Similarity, Verdict
from jobs.report.join import joined

ONE, TWO = response("r1"), response("r2")


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Dataset[Any]]:
    """Two responses; the judge and the embedding failed on the second, a metric on the first."""
    judgement = Judgement(correctness=4.5, passing=True, feedback="Right.")
    similar = Similarity(id="s", parent="r1", pair_id=ONE.pair_id, model="base", semantic_similarity=0.75)
    assessment = Assessment(
        id="a", parent="r2", pair_id=TWO.pair_id, model="base", metric="token_f1", score=0.5, passing=None, feedback="",
        split="val",
    )  # fmt: skip
    made = {
        "responses": (Response, [ONE, TWO]),
        "verdicts": (Verdict, [verdict(ONE, None, judgement, judgement.feedback)]),
        "similarities": (Similarity, [similar]),
        "assessments": (Assessment, [assessment]),
    }
    return {name: sealed(tmp_path / name, row, rows) for name, (row, rows) in made.items()}


def test_a_score_that_failed_costs_only_itself(datasets: dict[str, Dataset[Any]]) -> None:
    """A response that the judge failed on keeps its other scores; what could not be had is None, and there."""
    one, two = joined(datasets, list(datasets["responses"].rows()), ["token_f1"])
    assert (one.correctness, one.semantic_similarity, one.scores) == (4.5, 0.75, {"token_f1": None})
    assert (two.parent, two.correctness, two.semantic_similarity, two.scores) == ("r2", None, None, {"token_f1": 0.5})


def test_a_metric_that_is_off_is_in_no_table(datasets: dict[str, Dataset[Any]]) -> None:
    """Rows of a metric that is not asked for are left where they are."""
    assert [row.scores for row in joined(datasets, list(datasets["responses"].rows()), [])] == [{}, {}]
