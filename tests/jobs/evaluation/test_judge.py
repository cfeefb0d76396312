from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from llama_index.core.evaluation import CorrectnessEvaluator, SemanticSimilarityEvaluator
from samples import embedder, processed, response

from engine.errors import Permanent, Transient
from engine.job import Job, ShardRows
from engine.records import make_id
from engine.requests import Alternative, Reply
from engine.testing import chat_reply, embedding_reply, scripted
from jobs.evaluation.judge import Method, by_agreement, by_score, judge, similarity
from jobs.models.llama_index import CallEmbedding, CallLLM
from jobs.records import Similarity, Verdict

ONE, TWO = response("r1"), response("r2", text="Sand.", split="train")


def judging(method: Method = by_score) -> Job:
    return judge(method=method, shows=lambda row: True, fingerprint={}, slots=2)


def similar(value: float, *, to: str = "r1") -> Similarity:
    return Similarity(id=f"s of {to}", parent=to, pair_id=f"pair of {to}", model="base", semantic_similarity=value)


async def verdicts(*turns: Any, method: Method = by_score, responses: Any = (ONE,), similarities: Any = ()) -> Any:
    call = scripted(*turns)
    shard = ShardRows(0, {"responses": responses, "similarities": similarities})
    made = await processed(judging(method), shard, call)
    assert call.left == 0
    return made


# Similarity


@pytest.mark.parametrize(
    ("ours", "reference", "expected"),
    [([1, 0], [2, 0], 1.0), ([1, 0], [0, 1], 0.0), ([1, 0], [-1, 0], -1.0), ([1, 1], [1, 0], 0.707107)],
)
async def test_similarity(ours: list[float], reference: list[float], expected: float) -> None:
    """One request embeds response and reference; the row holds their cosine and whose it is."""
    call = scripted(embedding_reply([ours, reference]))
    job = similarity(shows=lambda row: True, fingerprint={}, slots=1)
    [row] = await processed(job, ShardRows(0, {"responses": [ONE]}), call)
    assert [request.texts for request in call.requests] == [["Stones.", "Two stones."]]
    assert (row.parent, row.pair_id, row.model) == ("r1", "pair of r1", "base")
    assert row.semantic_similarity == pytest.approx(expected)


async def test_similarity_is_llama_indexs() -> None:
    """The figure is what LlamaIndex's SemanticSimilarityEvaluator gives for the same vectors."""
    spaces = {"Stones.": [0.3, 0.9, 0.1], "Two stones.": [0.5, 0.7, -0.4]}
    turn = embedder(lambda text: spaces[text])
    evaluator = SemanticSimilarityEvaluator(embed_model=CallEmbedding(scripted(turn, forever=True)))
    theirs = await evaluator.aevaluate(response="Stones.", reference="Two stones.")
    job = similarity(shows=lambda row: True, fingerprint={}, slots=1)
    [row] = await processed(job, ShardRows(0, {"responses": [ONE]}), scripted(turn))
    assert row.semantic_similarity == pytest.approx(theirs.score, abs=1e-6)


# Correctness by score


async def test_a_verdict() -> None:
    """A verdict joins the score with the similarity of the same response."""
    similarities = [similar(0.25, to="r2"), similar(0.75)]
    one, two = await verdicts("4.0\nNearly right.", "2.5\nHardly.", responses=[ONE, TWO], similarities=similarities)
    assert one == Verdict(
        id=make_id("verdict", "r1"),
        parent="r1",
        pair_id="pair of r1",
        paper_id="paper-a",
        model="base",
        correctness=4.0,
        passing=True,
        feedback="Nearly right.",
        semantic_similarity=0.75,
        split="val",
    )
    assert (two.correctness, two.passing, two.semantic_similarity, two.split) == (2.5, False, 0.25, "train")


async def test_the_request_is_llama_indexs() -> None:
    """The judge is sent what LlamaIndex's CorrectnessEvaluator sends for the same response."""
    theirs, ours = scripted("4.0\nRight."), scripted("4.0\nRight.")
    evaluator = CorrectnessEvaluator(llm=CallLLM(theirs, to="judge"))
    await evaluator.aevaluate(query=ONE.question, response=ONE.response, reference=ONE.reference)
    await by_score(ONE, ours)
    contents = [[message["content"].strip() for message in call.requests[0].messages] for call in (theirs, ours)]
    assert contents[0] == contents[1]
    assert ours.requests[0].to == "judge"


async def test_a_score_that_is_repaired() -> None:
    """A judge that gives no number is shown so, and asked again."""
    [row] = await verdicts("Rather good, I think.", "I said so.", "3\nHalf right.")
    assert (row.correctness, row.passing) == (3.0, False)


async def test_unscored() -> None:
    """A judge that never gives a number leaves the response unscored, with its similarity: no failure, and no zero."""
    [row] = await verdicts("Good.", "Fine.", "Yes.", similarities=[similar(0.5)])
    assert isinstance(row, Verdict)
    assert (row.correctness, row.passing, row.semantic_similarity) == (None, None, 0.5)
    assert row.feedback.startswith("unscored: ")


async def test_out_of_range_is_unscored() -> None:
    """A number that is not from 1 to 5 is no score."""
    [row] = await verdicts("11", "0", "-3")
    assert row.correctness is None


async def test_without_a_similarity() -> None:
    """A response whose embedding failed is judged all the same."""
    [row] = await verdicts("5\nRight.")
    assert (row.correctness, row.semantic_similarity) == (5.0, None)


async def test_other_failures_are_failures() -> None:
    """What the endpoint refuses is a failure with its reason, and not an unscored verdict."""
    [failed] = await verdicts(Permanent("withheld", kind="content_filter"))
    assert isinstance(failed, Permanent)
    assert failed.kind == "content_filter"
    with pytest.raises(Transient):
        await verdicts(Transient("down"))


# Correctness by agreement


def said(*tokens: tuple[str, float]) -> Reply:
    """A one-token answer with the probabilities of what it might have been."""
    alternatives = [Alternative(token=token, logprob=math.log(chance)) for token, chance in tokens]
    return msgspec.structs.replace(chat_reply(tokens[0][0] if tokens else "Yes"), alternatives=alternatives)


@pytest.mark.parametrize(
    ("tokens", "correctness", "passing"),
    [
        ([("Yes", 0.6), ("No", 0.2)], 4.0, True),
        ([("No", 0.9), (" yes", 0.1)], 1.4, False),
        ([("Yes", 0.5), ("no", 0.25), (" No", 0.25)], 3.0, True),
        ([("Yes", 1.0)], 5.0, True),
        ([("NO", 1.0), ("Maybe", 0.5)], 1.0, False),
    ],
)
async def test_agreement(tokens: list[tuple[str, float]], correctness: float, passing: bool) -> None:
    """P(Yes) among Yes and No, on the scale of 1 to 5, from one token with its alternatives."""
    [row] = await verdicts(said(*tokens), method=by_agreement, similarities=[similar(0.5)])
    assert (row.correctness, row.passing, row.semantic_similarity) == (pytest.approx(correctness), passing, 0.5)
    assert row.feedback.startswith("demo judge: ")


async def test_the_request_for_agreement() -> None:
    """It asks for one token with log probabilities, and shows question, reference and response."""
    call = scripted(said(("Yes", 1.0)))
    await by_agreement(ONE, call)
    [request] = call.requests
    assert (request.to, request.max_output_tokens, request.alternatives) == ("judge", 1, 20)
    prompt = request.messages[-1]["content"]
    assert all(part in prompt for part in (ONE.question, ONE.reference, ONE.response))


async def test_agreement_without_probabilities() -> None:
    """A server that gives no probabilities, or neither word, leaves the response unscored after one request."""
    for answer in (chat_reply("Yes"), said(("Maybe", 1.0)), said()):
        [row] = await verdicts(answer, method=by_agreement)
        assert row.correctness is None
        assert row.feedback.startswith("unscored: ")
