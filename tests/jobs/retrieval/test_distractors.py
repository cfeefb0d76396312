"""Distractors: never the source or its like, drawn by nothing but seed and pair, and named in every example."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import chunk, pair, processed, sealed, vector

from engine.errors import BadInput, Permanent
from engine.job import ShardRows
from engine.testing import scripted
from jobs.config import Augment
from jobs.models.embeddings import cosine, pack
from jobs.records import Chunk, Example, Probe, Vector
from jobs.retrieval.augment import Augmenter
from jobs.retrieval.distractors import NEAR, overlap, setting
from jobs.retrieval.index import Retriever
from jobs.run.configfile import validate

WORDS = ("mill", "stone", "grain", "water", "wheel", "seal", "shard", "journal", "slot", "limit", "paper", "chunk")


def corpus(seed: int) -> tuple[list[Chunk], dict[str, tuple[float, ...]]]:
    """Papers of overlapping chunks, two of them copies of each other's text, with vectors some of which lie close."""
    random = Random(seed)
    chunks: list[Chunk] = []
    for paper in range(5):
        said = [f"{random.choice(WORDS)}{random.randrange(40)}" for _ in range(120)]
        if paper == 4:
            said = chunks[0].text.split() + said[40:]
        for position in range(4):
            text = " ".join(said[position * 25 : position * 25 + 40])
            made = chunk(f"c{paper}{position}", paper=f"paper {paper}", text=text)
            chunks.append(
                Chunk(**{name: getattr(made, name) for name in made.__struct_fields__} | {"position": position})
            )
    vectors = {row.id: tuple(random.uniform(-1, 1) for _ in range(4)) for row in chunks}
    vectors["c21"] = tuple(2 * value for value in vectors["c01"])  # says the same in other words
    return chunks, vectors


async def examples(
    folder: Path, seed: int, *, split: str = "train", draw: int = 0, **chosen: Any
) -> tuple[list[Example], list[Chunk], dict[str, tuple[float, ...]]]:
    chunks, vectors = corpus(seed)
    retriever = Retriever(folder / "store")
    written = [vector(row, *vectors[row.id]) for row in chunks]
    await retriever.build(sealed(folder / "chunks", Chunk, chunks), sealed(folder / "index", Vector, written))
    pairs = [pair(f"pair {row.id}", chunk=row.id, paper=row.paper_id, split=split) for row in chunks]
    probes = [Probe(id=f"probe of {row.id}", parent=row.id, vector=pack(vectors[row.chunk_id])) for row in pairs]
    job = Augmenter(retriever=retriever, settings=Augment(**chosen), probed=True, seed=draw).job(
        fingerprint={}, slots=1
    )
    shard = ShardRows(0, {"pairs": pairs, "chunks": chunks, "probes": probes})
    return await processed(job, shard, scripted()), chunks, vectors


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 4), without=st.sampled_from([0.0, 0.5, 1.0]))
def test_no_distractor_is_the_source_or_its_like(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, without: float
) -> None:
    """No distractor is the source, its neighbour, a text that overlaps it, or a near-duplicate; no chunk stands twice."""
    folder = tmp_path_factory.mktemp("distractors")
    made, chunks, vectors = asyncio.run(examples(folder, seed, distractors=count, without_source=without))
    by_id = {row.id: row for row in chunks}
    assert len(made) == len(chunks)
    for example in made:
        source = by_id[example.pair_id.removeprefix("pair ")]
        roles = [context.role for context in example.contexts]
        assert roles.count("distractor") == count
        assert roles.count("source") == len(roles) - count <= 1
        assert [context.rank for context in example.contexts] == list(range(len(roles)))
        assert len({context.chunk_id for context in example.contexts}) == len(roles)
        for context in example.contexts:
            other = by_id[context.chunk_id]
            assert other.text in example.prompt
            assert (context.role == "source") == (other.id == source.id)
            if context.role == "distractor":
                assert other.paper_id != source.paper_id or abs(other.position - source.position) > 1
                assert not overlap(other.text, source.text)
                assert cosine(vectors[other.id], vectors[source.id]) < NEAR


async def test_shares_are_drawn_by_seed(tmp_path: Path) -> None:
    """The same seed draws the same examples; another one draws others; the source may stand anywhere."""
    chosen = {"distractors": 2, "without_source": 0.5, "distractor_share": 0.7}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "three").mkdir()
    one, _, _ = await examples(tmp_path / "one", 1, **chosen)
    two, _, _ = await examples(tmp_path / "two", 1, **chosen)
    three, _, _ = await examples(tmp_path / "three", 1, draw=1, **chosen)
    assert one == two != three
    places = {context.rank for row in [*one, *three] for context in row.contexts if context.role == "source"}
    assert places == {0, 1, 2}
    pairs = [pair(f"p{number}", chunk="c") for number in range(4000)]
    drawn = [setting(row, Augment(**chosen), 3) for row in pairs]
    assert sum(one.distracted for one in drawn) == pytest.approx(0.7 * 4000, abs=120)
    assert sum(not one.with_source for one in drawn) == pytest.approx(0.35 * 4000, abs=120)
    assert all(one.distracted or one.with_source for one in drawn)


async def test_an_abstention_says_so(tmp_path: Path) -> None:
    """Without its source an example keeps its answer, or abstains and is marked; with it, it never abstains."""
    chosen = {"distractors": 1, "without_source": 0.5, "without_source_answer": "abstain", "abstention": "Not here."}
    made, _, _ = await examples(tmp_path, 2, **chosen)
    bare = [row for row in made if not any(context.role == "source" for context in row.contexts)]
    assert 0 < len(bare) < len(made)
    assert all(row.abstains and row.answer == "Not here." for row in bare)
    assert all(not row.abstains and row.answer.startswith("The answer of") for row in made if row not in bare)


async def test_validation_is_retrieved(tmp_path: Path) -> None:
    """Validation pairs get what retrieval finds, as a user would."""
    made, _, _ = await examples(tmp_path, 3, split="val", distractors=2, without_source=1.0, top_k=2)
    assert all(
        [context.role for context in row.contexts] == ["source", "retrieved"]
        for row in made
        if row.pair_id != "pair c21"
    )


async def test_a_corpus_of_one_chunk(tmp_path: Path) -> None:
    """Where nothing can distract, the source stands alone; without it there is no example, and the pair says why."""
    row = chunk("c", text="A seal is final.")
    retriever = Retriever(tmp_path / "store")
    written = sealed(tmp_path / "index", Vector, [vector(row, 1.0, 0.0)])
    await retriever.build(sealed(tmp_path / "chunks", Chunk, [row]), written)
    probes = [Probe(id="probe", parent="p", vector=pack((1.0, 0.0)))]
    shard = ShardRows(0, {"pairs": [pair("p", chunk="c")], "chunks": [row], "probes": probes})
    for without, expected in ((0.0, ["source"]), (1.0, [])):
        chosen = Augment(distractors=2, without_source=without)
        job = Augmenter(retriever=retriever, settings=chosen, probed=True).job(fingerprint={}, slots=1)
        [made] = await processed(job, shard, scripted())
        if expected:
            assert [context.role for context in made.contexts] == expected
        else:
            assert isinstance(made, Permanent)
            assert made.kind == "no_context"


def test_distractors_stand_beside_their_source() -> None:
    """Distractors with separate contexts are refused in one line."""
    with pytest.raises(BadInput, match=r"separate_context = false"):
        validate({"augment": {"distractors": 2, "separate_context": True}})
