from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from samples import chunk, pair, response, sealed
from test_comparison import verdict

from engine.datasets import Dataset
from jobs.records import Chunk, Context, Pair, Response, Verdict
from jobs.report.changes import changes, largest_changes
from jobs.report.comparison import Verdicts


def verdicts() -> list[Verdict]:
    """Twelve validation questions on which tuned scored −2 to +3.5 over base, and a training one with a larger gain."""
    base = [verdict("base", number, 3.0 if number < 5 else 1.5) for number in range(12)]
    tuned = [verdict("tuned", number, (3.0 if number < 5 else 1.5) + (number - 4) / 2) for number in range(12)]
    seen = [verdict(model, 99, score, split="train") for model, score in (("base", 1.0), ("tuned", 5.0))]
    return [*base, *tuned, *seen]


def test_the_largest_changes_come_first() -> None:
    """Gains fall and losses rise, each no more than asked for; what did not change is in neither."""
    largest = largest_changes(Verdicts(verdicts(), ["base", "tuned"]), "tuned", "correctness", 3)
    assert [changed.by for changed in largest.gains] == [3.5, 3.0, 2.5]
    assert [changed.by for changed in largest.losses] == [-2.0, -1.5, -1.0]


def test_validation_is_shown_where_there_is_any() -> None:
    """What the model was trained on does not crowd out what it was not; it is shown when there is nothing else."""
    both = largest_changes(Verdicts(verdicts(), ["base", "tuned"]), "tuned", "correctness")
    assert {changed.model.split for changed in both.gains} == {"val"}
    trained = Verdicts([each for each in verdicts() if each.split == "train"], ["base", "tuned"])
    assert [changed.by for changed in largest_changes(trained, "tuned", "correctness").gains] == [4.0]


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Dataset[object]]:
    """Both models' answers to every question, with two contexts, the second of which is the pair's own chunk."""
    contexts = [Context(chunk_id=name, rank=rank, score=0.5) for rank, name in enumerate(("c2", "c1"))]
    answers = [
        msgspec.structs.replace(
            response(each.id), pair_id=each.pair_id, model=each.model, response=f"{each.id} says", contexts=contexts
        )
        for each in verdicts()
    ]
    pairs = [msgspec.structs.replace(pair(f"a{number}", chunk="c1"), id=str(number)) for number in range(12)]
    return {
        "responses": sealed(tmp_path / "responses", Response, answers),
        "pairs": sealed(tmp_path / "pairs", Pair, pairs),
        "chunks": sealed(tmp_path / "chunks", Chunk, [chunk("c1"), chunk("c2"), chunk("c3")]),
    }


def test_a_change_has_all_that_a_reader_needs(datasets: dict[str, Dataset[object]]) -> None:
    """Both answers, both scores, and the contexts in their order, with the question's own chunk marked."""
    found = Verdicts([msgspec.structs.replace(each, parent=each.id) for each in verdicts()], ["base", "tuned"])
    gains, losses = changes(found, datasets, "correctness")
    assert (len(gains), len(losses)) == (7, 4)
    assert gains[0].answers == ("base11valTrue says", "tuned11valTrue says")
    assert gains[0].scores == (1.5, 5.0)
    assert [passage.source for passage in gains[0].passages] == [False, True]


def test_a_single_model_has_no_changes(datasets: dict[str, Dataset[object]]) -> None:
    """Without another model there is nothing to look up."""
    assert changes(Verdicts(verdicts(), ["base"]), datasets, "correctness") == ([], [])
