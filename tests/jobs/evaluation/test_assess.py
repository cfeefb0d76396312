from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from llama_index.core.evaluation import FaithfulnessEvaluator, RelevancyEvaluator
from samples import chunk, processed, response, sealed

from engine.datasets import Dataset
from engine.errors import BadInput, Permanent
from engine.job import Job, ShardRows
from engine.runner import run
from engine.signals import Stop
from engine.testing import ScriptedCall, embedding_reply, scripted
from jobs.evaluation.assess import Assessor, check_metrics
from jobs.evaluation.grounding import read_yes_or_no
from jobs.models.llama_index import CallLLM
from jobs.records import Assessment, Chunk, Context, Response
from jobs.retrieval.index import Retriever

pytestmark = pytest.mark.slow  # it loads LlamaIndex: for two seconds


class Chunks(Retriever):
    """Retrieval that knows chunks of other shards by their ids, without a store."""

    def __init__(self) -> None:
        super().__init__(Path())

    async def texts(self, chunk_ids: Sequence[str]) -> list[str]:
        assert "c1" not in chunk_ids, "it is in the response's own shard"
        return [f"The text of {id_}." for id_ in chunk_ids]


CONTEXTS = [Context(chunk_id=id_, rank=rank, score=0.5) for rank, id_ in enumerate(("c1", "c2"))]
ONE, TWO = (
    msgspec.structs.replace(row, contexts=CONTEXTS)
    for row in (response("r1", text="Two stones"), response("r2", text="Sand.", split="train"))
)


def assessing(written: Dataset[Assessment], *metrics: str) -> Job:
    assessor = Assessor(metrics=metrics, shows=lambda row: True, written=written, retriever=Chunks(), max_tokens=300)
    return assessor.job(fingerprint={}, slots=2)


@pytest.fixture
def datasets(tmp_path: Path) -> dict[str, Dataset[Any]]:
    return {
        "responses": sealed(tmp_path / "responses", Response, [ONE, TWO]),
        "chunks": sealed(tmp_path / "chunks", Chunk, [chunk("c1")]),
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


# Metrics that ask the judge


@pytest.mark.parametrize(
    ("metric", "kind"), [("faithfulness", FaithfulnessEvaluator), ("relevancy", RelevancyEvaluator)]
)
async def test_the_request_is_llama_indexs(
    datasets: dict[str, Dataset[Any]], metric: str, kind: type[FaithfulnessEvaluator | RelevancyEvaluator]
) -> None:
    """The judge is sent what LlamaIndex's evaluator sends, once for each response."""
    theirs, ours = scripted("YES"), scripted("YES", "NO")
    texts = ["The text of c1.", "The text of c2."]
    await kind(llm=CallLLM(theirs, to="judge")).aevaluate(query=ONE.question, response=ONE.response, contexts=texts)
    one, two = await assessed(datasets, ours, metric)
    assert ours.requests[0].messages == theirs.requests[0].messages
    assert (ours.requests[0].to, ours.requests[0].max_output_tokens) == ("judge", 300)
    assert [(row.parent, row.score, row.passing, row.feedback) for row in (one, two)] == [
        ("r1", 1.0, True, "YES"),
        ("r2", 0.0, False, "NO"),
    ]


@pytest.mark.parametrize(
    ("answer", "passing"),
    [
        ("YES", True),
        ("No.", False),
        ("**Answer: YES**", True),
        ("Yes, and there is no doubt about it.", True),
        ("No; yesterday's mill was another.", False),
        ("<think>NO? No.</think>\nYes", True),
        ("There is no doubt that the context supports it: YES", True),
        ("The context says nothing of it, so NO.", False),
        ("Either YES or NO.", None),
        ("The eyes have it.", None),
        ("Perhaps.", None),
        ("", None),
    ],
)
def test_reading_yes_or_no(answer: str, passing: bool | None) -> None:
    """The first word counts, else the one word in capitals; what is in other words and what was only thought does not."""
    assert read_yes_or_no(answer) is passing


async def test_what_cannot_be_read_is_unscored(datasets: dict[str, Dataset[Any]]) -> None:
    """A judge that says neither yes nor no after its repairs costs this one cell: a row without a score, no failure."""
    one, two = sorted(
        await assessed(datasets, scripted("Perhaps.", forever=True), "relevancy"), key=lambda row: row.parent
    )
    assert (one.score, one.passing, two.score) == (None, None, None)
    assert one.feedback.startswith("unscored: ")


async def test_answers_without_contexts_are_not_asked_about(datasets: dict[str, Dataset[Any]]) -> None:
    """Whether an answer is faithful to contexts cannot be said of one that had none; its words can be compared."""
    datasets["responses"].write_sealed(0, [response("alone")])
    rows = await assessed(datasets, scripted(), "faithfulness", "token_f1")
    assert [row.metric for row in rows] == ["token_f1"]


# LlamaIndex's evaluators by name


async def test_an_evaluator_by_name(datasets: dict[str, Dataset[Any]]) -> None:
    """A class of LlamaIndex's is made with the judge, and its score and words are the row's, on its own scale."""
    judge = scripted("4.5\nNearly right.", forever=True)
    rows = await assessed(datasets, judge, "llama:CorrectnessEvaluator")
    assert [(row.metric, row.score, row.passing) for row in rows] == [("llama:CorrectnessEvaluator", 4.5, True)] * 2
    assert rows[0].feedback == "Nearly right."
    assert [request.to for request in judge.requests] == ["judge", "judge"]


async def test_an_evaluator_that_wants_two_requests(datasets: dict[str, Dataset[Any]]) -> None:
    """One that embeds two texts apart fails at the second, which is not sent: a record has one paid request at most."""
    call = scripted(embedding_reply([[1.0, 0.0]]))
    job = assessing(datasets["assessments"], "llama:SemanticSimilarityEvaluator")
    (failed,) = await processed(job, ShardRows(0, {"responses": [ONE], "chunks": [chunk("c1")]}), call)
    assert isinstance(failed, Permanent)
    assert (failed.kind, call.left) == ("second_request", 0)


async def test_an_evaluator_that_cannot_judge(datasets: dict[str, Dataset[Any]]) -> None:
    """An evaluator that raises, as one that lacks a second answer, leaves the cell unscored and says why."""
    (one, _) = await assessed(datasets, scripted(), "llama:PairwiseComparisonEvaluator")
    assert one.score is None
    assert "second_response" in one.feedback


@pytest.mark.parametrize("name", ["llama:NoSuchEvaluator", "llama:EvaluationResult", "llama:no.such.Evaluator"])
async def test_an_evaluator_that_there_is_not(datasets: dict[str, Dataset[Any]], name: str) -> None:
    """What is no evaluator is bad input that names the setting, and nothing is asked."""
    with pytest.raises(BadInput, match=r"evaluate\.metrics"):
        await assessed(datasets, scripted(), name)


def test_an_unknown_metric_is_refused() -> None:
    """With the one that was meant, or those that there are."""
    check_metrics(["token_f1", "faithfulness", "llama:GuidelineEvaluator", "llama:my.package.Own"])
    with pytest.raises(BadInput, match=r"evaluate\.metrics: there is no metric 'rougel'; did you mean rouge_l\?"):
        check_metrics(["rougel"])
    with pytest.raises(BadInput, match=r"there are exact_match, .* and llama:CLASS"):
        check_metrics(["llama:"])
