from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from llama_index.core.evaluation import PairwiseComparisonEvaluator
from samples import pair, processed, response, sealed

from engine.errors import Permanent
from engine.job import Job, ShardRows
from engine.testing import scripted
from jobs.evaluation.pairwise import prefer
from jobs.evaluation.sample import Sample
from jobs.models.llama_index import CallLLM
from jobs.records import Pair

BASE = response("b", text="Sand.")
TUNED = msgspec.structs.replace(response("t"), model="tuned", pair_id=BASE.pair_id)
BARE = msgspec.structs.replace(TUNED, id="bare", retrieval=False)


async def preferring(folder: Path) -> Job:
    pairs = sealed(folder, Pair, [pair(BASE.pair_id, chunk="c", split="val")])
    job = prefer(chosen=Sample(pairs, 1, 0), shows=lambda row: True, max_tokens=300, fingerprint={}, slots=1)
    assert job.prepare is not None
    await job.prepare()
    return job


async def preferences(folder: Path, *turns: Any, responses: Any = (BASE, TUNED)) -> Any:
    call = scripted(*turns)
    made = await processed(await preferring(folder), ShardRows(0, {"responses": responses}), call)
    assert call.left == 0
    return made


@pytest.mark.parametrize(
    ("first", "second", "winners"),
    [
        ("[[A]]", "[[B]]", ["model", "model"]),
        ("[[B]]", "[[A]]", ["against", "against"]),
        ("[[A]]", "[[A]]", ["model", "against"]),
        ("[[C]]", "[[C]]", ["tie", "tie"]),
    ],
)
async def test_both_orders(tmp_path: Path, first: str, second: str, winners: list[str]) -> None:
    """Each model is set beside the base in both orders; the winner is the one whose answer stood where the judge says."""
    rows = await preferences(tmp_path, first, second)
    assert [row.winner for row in rows] == winners
    assert [row.order for row in rows] == ["model first", "against first"]
    assert {(row.model, row.against, row.parent, row.split) for row in rows} == {("tuned", "base", "t", "val")}


async def test_the_request_is_llama_indexs(tmp_path: Path) -> None:
    """The judge is sent what LlamaIndex's PairwiseComparisonEvaluator sends, in the same two orders."""
    theirs, ours = scripted("[[A]]", "[[B]]"), scripted("[[A]]", "[[B]]")
    evaluator = PairwiseComparisonEvaluator(llm=CallLLM(theirs, to="judge", max_tokens=300))
    await evaluator.aevaluate(
        query=TUNED.question, response=TUNED.response, second_response=BASE.response, reference=TUNED.reference
    )
    await processed(await preferring(tmp_path), ShardRows(0, {"responses": (BASE, TUNED)}), ours)
    sent = [
        [[message["content"].strip() for message in request.messages] for request in call.requests]
        for call in (theirs, ours)
    ]
    assert sent[0] == sent[1]


async def test_unscored(tmp_path: Path) -> None:
    """A judge that names no one, or both, is shown so; after its repairs the preference is unscored, and no tie."""
    rows = await preferences(tmp_path, "Both.", "[[A]] or [[B]]", "Hm.", "Well.", "[[B]]")
    assert [row.winner for row in rows] == [None, "model"]
    assert rows[0].feedback.startswith("unscored: ")


async def test_only_with_the_base(tmp_path: Path) -> None:
    """Nothing is asked where the base has no answer of the same kind to the same question."""
    assert await preferences(tmp_path, responses=(TUNED,)) == []
    assert await preferences(tmp_path, responses=(BASE, BARE)) == []
    other = msgspec.structs.replace(TUNED, pair_id="another pair")
    assert await preferences(tmp_path, responses=(BASE, other)) == []


async def test_a_refusal(tmp_path: Path) -> None:
    """What the endpoint refuses is a failure of this one order."""
    refused, row = await preferences(tmp_path, Permanent("refused", kind="content_filter"), "[[C]]")
    assert isinstance(refused, Permanent)
    assert row.winner == "tie"
