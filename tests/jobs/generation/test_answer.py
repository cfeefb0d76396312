from __future__ import annotations

import json
from pathlib import Path

import pytest
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
from samples import chunk, processed, question

from engine.errors import Permanent
from engine.job import Job, ShardRows
from engine.testing import scripted
from jobs.generation.answer import answer, read_answer
from jobs.models.chat import Malformed
from jobs.records import Pair

GOLDEN = Path(__file__).parents[1] / "golden"
CHUNKS = [chunk("c", text="A mill grinds {papers}."), chunk("d", text="A seal is final."), chunk("e", paper="paper-b")]


def job() -> Job:
    return answer(max_tokens=300, fingerprint={}, slots=4)


async def test_the_request_is_llama_indexs() -> None:
    """The prompt is LlamaIndex's own QA prompt around the chunk that the question was asked of."""
    asked = [question("q", chunk="d", text="What is {final}?")]
    call = scripted("A seal.")
    await processed(job(), ShardRows(0, {"questions": asked, "chunks": CHUNKS}), call)
    [request] = call.requests
    prompt = DEFAULT_TEXT_QA_PROMPT.format(context_str="A seal is final.", query_str="What is {final}?")
    assert request.messages == [{"role": "user", "content": prompt}]
    assert (request.to, request.max_output_tokens) == ("generator", 300)


async def test_the_golden_request() -> None:
    """The exact request for one question is the one that was looked at."""
    call = scripted("Papers.")
    asked = [question("q", chunk="c", text="What does a mill grind?")]
    await processed(job(), ShardRows(0, {"questions": asked, "chunks": CHUNKS}), call)
    assert {"messages": call.requests[0].messages} == json.loads((GOLDEN / "answer_request.json").read_text("utf-8"))


async def test_rows() -> None:
    """A pair keeps its question, chunk, paper and split; its id comes from the question and the answer."""
    shard = ShardRows(0, {"questions": [question("q", chunk="d")], "chunks": CHUNKS})
    [first] = await processed(job(), shard, scripted("A seal."))
    [same] = await processed(job(), shard, scripted(" A seal.\n"))
    [other] = await processed(job(), shard, scripted("No seal."))
    assert isinstance(first, Pair)
    assert (first.parent, first.chunk_id, first.paper_id, first.split) == ("q", "d", "paper-a", "train")
    assert (first.question, first.answer, first.evidence) == ("What does q ask?", "A seal.", "")
    assert same == first
    assert other.id != first.id


async def test_a_draft_costs_nothing() -> None:
    """A question that came with its answer needs no request, and keeps its evidence."""
    shard = ShardRows(0, {"questions": [question("q", chunk="d", draft="A seal.")], "chunks": CHUNKS})
    [pair] = await processed(job(), shard, scripted())
    assert (pair.answer, pair.evidence) == ("A seal.", "A sentence.")


async def test_repeated_questions_are_left_out() -> None:
    """What was asked before of the same paper is not answered twice, however it is written; other papers may ask it."""
    asked = [
        question("q1", chunk="c", text="What is a seal?"),
        question("q2", chunk="d", text="what is  a SEAL"),
        question("q3", chunk="e", paper="paper-b", text="What is a seal?"),
        question("q4", chunk="d", text="What is a seal for?"),
    ]
    call = scripted("An answer.", forever=True)
    pairs = await processed(job(), ShardRows(0, {"questions": asked, "chunks": CHUNKS}), call)
    assert [pair.parent for pair in pairs] == ["q1", "q3", "q4"]
    assert len(call.requests) == 3


@pytest.mark.parametrize("empty", ["Empty Response", "empty response.", " . ", ""])
async def test_an_empty_answer(empty: str) -> None:
    """LlamaIndex's word for no answer is no answer: it is repaired, and in the end a failure."""
    with pytest.raises(Malformed, match="It is empty"):
        read_answer(empty)
    shard = ShardRows(0, {"questions": [question("q", chunk="d")], "chunks": CHUNKS})
    assert [pair.answer for pair in await processed(job(), shard, scripted(empty, "A seal."))] == ["A seal."]
    call = scripted(empty, empty, empty)
    [failed] = await processed(job(), shard, call)
    assert isinstance(failed, Permanent)
    assert failed.kind == "malformed"
    assert call.left == 0
