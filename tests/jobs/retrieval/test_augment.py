from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
from samples import chunk, embedder, pair, processed, sealed, vector

from engine.errors import Permanent, Transient
from engine.job import ShardRows
from engine.records import encode
from engine.testing import scripted
from jobs.config import Augment
from jobs.records import Chunk, Example, Vector
from jobs.retrieval.augment import Augmenter
from jobs.retrieval.index import Retriever

GOLDEN = Path(__file__).parents[1] / "golden" / "augment_examples.jsonl"

CHUNKS = [
    chunk("c1", paper="one", text="The mill grinds {papers}."),
    chunk("c2", paper="one", text="A seal is final."),
    chunk("c3", paper="one", split="val", text="Slots bound the tasks."),
    chunk("d1", paper="two", split="val", text="A budget caps what is spent.", title="Of Budgets"),
    chunk("d2", paper="two", text="The journal comes first.", title="Of Budgets"),
]
VECTORS = {"c1": (1.0, 0.0), "c2": (0.8, 0.6), "c3": (0.96, 0.28), "d1": (0.6, 0.8), "d2": (0.0, 1.0)}
PAIRS = [
    pair("p1", chunk="c1", paper="one", text="What is ground, {where}?"),
    pair("p2", chunk="d1", paper="two", split="val", text="What caps the cost?"),
]
QUESTIONS = {"What is ground, {where}?": (1.0, 0.05), "What caps the cost?": (0.5, 0.9)}


@pytest.fixture
async def retriever(tmp_path: Path) -> Retriever:
    made = Retriever(tmp_path / "store")
    written = [vector(row, *VECTORS[row.id]) for row in CHUNKS]
    await made.build(sealed(tmp_path / "chunks", Chunk, CHUNKS), sealed(tmp_path / "index", Vector, written))
    return made


async def examples(retriever: Retriever, **settings: Any) -> list[Example]:
    job = Augmenter(retriever=retriever, settings=Augment(**settings)).job(fingerprint={}, slots=1)
    call = scripted(embedder(lambda text: QUESTIONS[text]), forever=True)
    made: list[Example] = await processed(job, ShardRows(0, {"pairs": PAIRS, "chunks": CHUNKS}), call)
    assert [request.texts for request in call.requests] == [[row.question] for row in PAIRS]
    return made


def found(rows: Sequence[Example]) -> list[list[str]]:
    return [[context.chunk_id for context in row.contexts] for row in rows]


def qa_prompt(question: str, *texts: str) -> str:
    """LlamaIndex's own object, filled."""
    return DEFAULT_TEXT_QA_PROMPT.format(context_str="\n\n".join(texts), query_str=question)


async def test_the_golden_rows(retriever: Retriever) -> None:
    """The exact rows made of these pairs and chunks, joined and separate, are those that were looked at."""
    rows = [*await examples(retriever, top_k=2), *await examples(retriever, top_k=2, separate_context=True)]
    assert b"".join(map(encode, rows)) == GOLDEN.read_bytes()


async def test_one_context(retriever: Retriever) -> None:
    """By default the nearest chunk stands in LlamaIndex's QA prompt before the question; braces are left alone."""
    first, second = await examples(retriever)
    assert found([first, second]) == [["c1"], ["d1"]]
    assert first.prompt == qa_prompt("What is ground, {where}?", "The mill grinds {papers}.")
    assert (first.pair_id, first.parent, first.paper_id) == ("p1", "p1", "one")
    assert (first.answer, first.split, first.title) == ("The answer of p1.", "train", "On Mills")
    assert (second.split, second.title) == ("val", "Of Budgets")


async def test_contexts_joined(retriever: Retriever) -> None:
    """With top_k the contexts are joined in order of rank, each with its rank and its cosine."""
    [first, _] = await examples(retriever, top_k=3)
    assert found([first]) == [["c1", "c3", "c2"]]
    assert [context.rank for context in first.contexts] == [0, 1, 2]
    scores = [context.score for context in first.contexts]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1 / (1 + 0.05**2) ** 0.5, abs=1e-6)
    texts = ["The mill grinds {papers}.", "Slots bound the tasks.", "A seal is final."]
    assert first.prompt == qa_prompt(first.question, *texts)


async def test_contexts_apart(retriever: Retriever) -> None:
    """With separate_context one pair makes an example of each context, its rank and score kept, under its own id."""
    joined = await examples(retriever, top_k=3)
    apart = await examples(retriever, top_k=3, separate_context=True)
    assert found(apart) == [["c1"], ["c3"], ["c2"], ["d1"], ["c2"], ["d2"]]
    assert [row.contexts[0] for row in apart] == [context for row in joined for context in row.contexts]
    assert [row.prompt for row in apart[:2]] == [
        qa_prompt(apart[0].question, "The mill grinds {papers}."),
        qa_prompt(apart[0].question, "Slots bound the tasks."),
    ]
    assert len({row.id for row in apart}) == 6
    assert [row.answer for row in apart] == ["The answer of p1."] * 3 + ["The answer of p2."] * 3


async def test_within_the_paper(retriever: Retriever) -> None:
    """scope = "paper" looks at the chunks of the pair's own paper only."""
    assert found(await examples(retriever, top_k=9, scope="paper")) == [["c1", "c3", "c2"], ["d1", "d2"]]


async def test_validation_left_out(retriever: Retriever) -> None:
    """leave_out_validation keeps validation chunks from training pairs; validation pairs may have any."""
    train, val = await examples(retriever, top_k=9, leave_out_validation=True)
    assert found([train]) == [["c1", "c2", "d2"]]
    assert set(found([val])[0]) == set(VECTORS)
    assert {"c3", "d1"} < set(found(await examples(retriever, top_k=9))[0])


async def test_nothing_to_retrieve(retriever: Retriever) -> None:
    """A pair for which no chunk can be found fails by itself, with a kind of its own."""
    lonely = pair("p3", chunk="c1", paper="three")
    job = Augmenter(retriever=retriever, settings=Augment(scope="paper")).job(fingerprint={}, slots=1)
    call = scripted(embedder(lambda _: (1.0, 0.0)))
    [failed] = await processed(job, ShardRows(0, {"pairs": [lonely], "chunks": CHUNKS}), call)
    assert isinstance(failed, Permanent)
    assert failed.kind == "no_context"


async def test_what_the_call_raises_passes(retriever: Retriever) -> None:
    """A failed embedding is the call's to retry, not the job's to hide."""
    job = Augmenter(retriever=retriever, settings=Augment()).job(fingerprint={}, slots=1)
    with pytest.raises(Transient):
        await processed(job, ShardRows(0, {"pairs": PAIRS, "chunks": CHUNKS}), scripted(Transient("down")))


async def test_rows_hold_nothing_strange(retriever: Retriever) -> None:
    """An example survives being written and read."""
    for row in await examples(retriever, top_k=2):
        assert msgspec.json.decode(encode(row), type=Example) == row


async def over_two(retriever: Retriever, *, split: str = "train", **settings: Any) -> list[Example]:
    """The examples of one pair over the chunks c1 and c2, whose question is nearest to c1, then c3."""
    both = msgspec.structs.replace(PAIRS[0], second_chunk_id="c2", type="multi_step", split=split)
    job = Augmenter(retriever=retriever, settings=Augment(**settings)).job(fingerprint={}, slots=1)
    call = scripted(embedder(lambda text: QUESTIONS[text]), forever=True)
    return await processed(job, ShardRows(0, {"pairs": [both], "chunks": CHUNKS}), call)


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (1, [("c1", "source"), ("c2", "source")]),
        (2, [("c1", "source"), ("c2", "source")]),
        (3, [("c1", "source"), ("c3", "retrieved"), ("c2", "source")]),
    ],
)
async def test_a_training_pair_over_two_chunks_has_both(
    retriever: Retriever, top_k: int, expected: list[tuple[str, str]]
) -> None:
    """In place of the last that retrieval found; each with its cosine, and its type in the row."""
    [made] = await over_two(retriever, top_k=top_k, scope="paper")
    assert [(context.chunk_id, context.role) for context in made.contexts] == expected
    assert [context.rank for context in made.contexts] == list(range(len(expected)))
    assert made.type == "multi_step"
    assert all(f"{text}" in made.prompt for text in ("The mill grinds {papers}.", "A seal is final."))
    scores = [context.score or 0 for context in made.contexts]
    assert scores == sorted(scores, reverse=True)


async def test_a_validation_pair_over_two_chunks_has_what_is_retrieved(retriever: Retriever) -> None:
    """A user has no more; with one context each, the two of a training pair stand together."""
    assert found(await over_two(retriever, split="val", top_k=2, scope="paper")) == [["c1", "c3"]]
    separate = await over_two(retriever, top_k=3, scope="paper", separate_context=True)
    assert found(separate) == [["c1", "c2"], ["c3"]]


@pytest.mark.parametrize("without", [0.0, 1.0])
async def test_distractors_beside_two_chunks(retriever: Retriever, without: float) -> None:
    """Both are sources, and neither is a distractor; without them both are gone."""
    [made] = await over_two(retriever, distractors=2, without_source=without, without_source_answer="answer")
    roles = {context.chunk_id: context.role for context in made.contexts}
    assert {id_ for id_, role in roles.items() if role == "source"} == (set() if without else {"c1", "c2"})
    assert {id_ for id_, role in roles.items() if role == "distractor"} <= {"c3", "d1", "d2"}
    assert made.contexts
