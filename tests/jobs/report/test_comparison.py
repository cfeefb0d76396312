from __future__ import annotations

import pytest
from report_sample import MODELS, sample

from jobs.records import Verdict
from jobs.report.comparison import Cell, Verdicts


def verdict(model: str, pair: int, correctness: float | None, *, split: str = "val", retrieval: bool = True) -> Verdict:
    return Verdict(
        id=f"{model}{pair}{split}{retrieval}",
        parent="",
        pair_id=str(pair),
        paper_id=str(pair),
        model=model,
        correctness=correctness,
        passing=None,
        feedback="",
        semantic_similarity=None,
        split=split,
        retrieval=retrieval,
        scores={"token_f1": 0.5},
    )


def test_differences_are_taken_on_the_same_questions() -> None:
    """A question that one model has no score for is in neither side of the difference, however it would move it."""
    found = [verdict("base", 1, 2.0), verdict("base", 2, 5.0), verdict("tuned", 1, 3.0), verdict("tuned", 2, None)]
    (difference,) = Verdicts(found, ["base", "tuned"]).differences()
    measured = difference.metrics["correctness"]
    assert (difference.name, difference.model, difference.against) == ("tuned − base, validation", "tuned", "base")
    assert (measured.mean, measured.scored, measured.total, measured.won) == (1.0, 1, 2, 1)


def test_an_answer_that_failed_is_missing_from_the_pair() -> None:
    """Where no verdict is there at all, the pair still counts in the total, as does what nobody answered."""
    found = [verdict("base", 1, 2.0), verdict("base", 2, 5.0), verdict("tuned", 1, 3.0)]
    asked = {Cell("val", True, model): 4 for model in ("base", "tuned")}
    (difference,) = Verdicts(found, ["base", "tuned"], asked=asked).differences()
    assert (difference.metrics["correctness"].scored, difference.metrics["correctness"].total) == (1, 4)


def test_splits_and_ways_of_asking_are_never_mixed() -> None:
    """Each split, with retrieval and without, has its own rows and differences; validation with retrieval is first."""
    report = sample()
    sides = [("val", True), ("val", False), ("train", True), ("train", False)]
    assert list(dict.fromkeys((row.split, row.retrieval) for row in report.rows)) == sides
    assert [row.model for row in report.rows[:3]] == list(MODELS)
    assert [(each.split, each.retrieval) for each in report.differences[::2]] == sides
    assert report.rows[3].name == "base, validation, no retrieval"


def test_what_retrieval_adds_is_paired_by_question() -> None:
    """A model with retrieval minus itself without, only on splits where it was asked both ways."""
    found = [
        verdict("base", 1, 4.0),
        verdict("base", 1, 2.0, retrieval=False),
        verdict("base", 2, 5.0, retrieval=False),
        verdict("base", 3, 5.0, split="train"),
    ]
    (effect,) = Verdicts(found, ["base"]).retrieval_effects()
    assert (effect.split, effect.model, effect.against) == ("val", "base", "base")
    assert (effect.metrics["correctness"].mean, effect.metrics["correctness"].total) == (2.0, 2)


def test_other_questions_show_no_effect_of_retrieval() -> None:
    """Where some questions were asked with retrieval and others without, nothing is said of its effect."""
    found = [verdict("base", 1, 4.0), verdict("base", 2, 5.0, retrieval=False)]
    assert Verdicts(found, ["base"]).retrieval_effects() == []


def test_other_metrics_stand_beside_the_first_two() -> None:
    """Whatever the verdicts hold by name is in rows and differences; models that are not compared are in none."""
    verdicts = Verdicts([verdict("base", 1, 4.0), verdict("other", 1, 4.0)], ["base", "tuned"])
    base, tuned = verdicts.rows()
    assert (base.metrics["token_f1"].mean, tuned.metrics["token_f1"].scored) == (0.5, 0)
    assert list(verdicts.differences()[0].metrics) == ["correctness", "semantic_similarity", "token_f1"]


def test_every_question_is_a_point() -> None:
    """A scatter holds each question that both have a score for, those of like scores once with their number."""
    found = [verdict(model, pair, score) for model, score in (("base", 2.0), ("tuned", 4.5)) for pair in range(3)]
    (scatter,) = Verdicts(found, ["base", "tuned"]).scatters()
    assert scatter.points == [(2.0, 4.5, 3)]


@pytest.mark.parametrize(("metric", "scale"), [("correctness", (1.0, 5.0)), ("rouge_l", (0.0, 1.0))])
def test_scales(metric: str, scale: tuple[float, float]) -> None:
    """Intervals are cut to the scale of their metric."""
    assert Verdicts([], ["base"]).scale(metric) == scale
