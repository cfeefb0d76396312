from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
from samples import chunk, example, pair, processed, sealed, vector

from engine.datasets import Dataset
from engine.errors import Fatal, Permanent
from engine.job import Job, ShardRows
from engine.records import make_id
from engine.runner import run
from engine.signals import Stop
from engine.testing import ScriptedCall, scripted
from jobs.config import Evaluate
from jobs.evaluation.asked import Asked, Compared
from jobs.evaluation.respond import Responder
from jobs.records import Chunk, Example, Pair, Response, Vector
from jobs.retrieval.index import Retriever

CHUNKS = [chunk("c1", text="The mill grinds {papers}."), chunk("c2", text="A seal is final.")]
PAIRS = [pair(f"p{number}", chunk="c1", split="val" if number % 3 == 0 else "train") for number in range(12)]
EXAMPLES = [example(row, "c2", "c1", title=f"Title of {row.id}") for row in PAIRS]
BASE = {"base": "model-b"}
BOTH = {"base": "model-b", "tuned": "ft:model-b"}


@pytest.fixture
async def retriever(tmp_path: Path) -> Retriever:
    made = Retriever(tmp_path / "store")
    written = [vector(row, 1.0, float(place)) for place, row in enumerate(CHUNKS)]
    await made.build(sealed(tmp_path / "chunks", Chunk, CHUNKS), sealed(tmp_path / "index", Vector, written))
    return made


@pytest.fixture
def pairs(tmp_path: Path) -> Dataset[Pair]:
    return sealed(tmp_path / "pairs", Pair, PAIRS[:5], PAIRS[5:])


def job(
    pairs: Dataset[Pair],
    retriever: Retriever,
    *,
    models: Mapping[str, str] = BASE,
    sample: int = 2,
    seed: int = 0,
    alone: bool = False,
    pairs_of: str = "",
) -> Job:
    settings = Evaluate(sample=sample, without_retrieval=alone, pairs=pairs_of)
    return Responder(
        asked=Asked(pairs, Dataset(pairs.folder.parent / "examples", Example), settings, seed),
        retriever=retriever,
        models=lambda: {
            name: Compared(model=model, to=name, max_tokens=200 if name in BOTH else 300)
            for name, model in models.items()
        },
        system_prompt="About {}.".format,
        settings=settings,
    ).job(fingerprint={}, slots=2)


async def asked(made: Job, examples: Sequence[Example] = EXAMPLES, call: ScriptedCall | None = None) -> list[Any]:
    """The rows of both shards."""
    assert made.prepare is not None
    await made.prepare()
    call = call or scripted("An answer.", forever=True)
    first = await processed(made, ShardRows(0, {"pairs": PAIRS[:5], "examples": examples[:5]}), call)
    return [*first, *await processed(made, ShardRows(1, {"pairs": PAIRS[5:], "examples": examples[5:]}), call)]


async def test_the_request(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """A model gets the system prompt with the paper's title, and the prompt that the example has."""
    call = scripted("An answer.", forever=True)
    row, *_ = await asked(job(pairs, retriever), call=call)
    request = call.requests[0]
    assert request.messages == [
        {"role": "system", "content": f"About Title of {row.pair_id}."},
        {"role": "user", "content": "the prompt"},
    ]
    assert (request.to, request.max_output_tokens) == ("base", 200)


async def test_the_row(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """A response keeps the question, the reference, the contexts that were shown and who answered."""
    row, *_ = await asked(job(pairs, retriever))
    source = next(each for each in PAIRS if each.id == row.pair_id)
    shown = next(each for each in EXAMPLES if each.pair_id == row.pair_id).contexts
    assert isinstance(row, Response)
    assert (row.parent, row.pair_id, row.paper_id, row.model) == (source.id, source.id, "paper-a", "base")
    assert (row.question, row.reference, row.response) == (source.question, source.answer, "An answer.")
    assert (row.contexts, row.split) == (shown, source.split)


async def test_models_differ_in_nothing_else(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """Each model is asked the same questions with the same system prompt, contexts and length."""
    call = scripted("An answer.", forever=True)
    rows = await asked(job(pairs, retriever, models=BOTH), call=call)
    base, tuned = ([row for row in rows if row.model == name] for name in BOTH)
    assert [row.pair_id for row in base] == [row.pair_id for row in tuned]
    bodies = [[request.messages for request in call.requests if request.to == name] for name in BOTH]
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 4
    assert len({row.id for row in rows}) == 8


async def test_a_candidate(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """A candidate is asked the very same, with its own length of an answer."""
    call = scripted("An answer.", forever=True)
    rows = await asked(job(pairs, retriever, models={**BASE, "rival": "model-r"}), call=call)
    assert Counter(row.model for row in rows) == {"base": 4, "rival": 4}
    base, rival = ([request for request in call.requests if request.to == name] for name in ("base", "rival"))
    assert [request.messages for request in base] == [request.messages for request in rival]
    assert {request.max_output_tokens for request in rival} == {300}


async def test_without_retrieval(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """For the ablation the same pairs are asked again as bare questions, under the same system prompt."""
    call = scripted("An answer.", forever=True)
    rows = await asked(job(pairs, retriever, models=BOTH, alone=True), call=call)
    bare = [row for row in rows if not row.retrieval]
    assert Counter((row.model, row.retrieval) for row in rows) == {
        (name, way): 4 for name in BOTH for way in (True, False)
    }
    assert {row.pair_id for row in bare} == {row.pair_id for row in rows if row.retrieval}
    assert not any(row.contexts for row in bare)
    assert all(row.contexts for row in rows if row.retrieval)
    assert len({row.id for row in rows}) == len(rows)
    bodies = [request.messages for request in call.requests]
    for row in bare:
        assert [
            {"role": "system", "content": f"About Title of {row.pair_id}."},
            {"role": "user", "content": row.question},
        ] in bodies


async def test_the_ablation_changes_no_other_answer(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """The answers with retrieval are those of a run without the ablation, by id."""
    with_it = [row.id for row in await asked(job(pairs, retriever, alone=True)) if row.retrieval]
    assert with_it == [row.id for row in await asked(job(pairs, retriever))]


async def test_the_sample(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """So many pairs of each split, those of the smallest hash: the same in each restart, others with another seed."""
    rows = await asked(job(pairs, retriever, sample=3))
    assert Counter(row.split for row in rows) == {"train": 3, "val": 3}
    assert [row.id for row in await asked(job(pairs, retriever, sample=3))] == [row.id for row in rows]
    for split in ("train", "val"):
        ids = [each.id for each in PAIRS if each.split == split]
        smallest = sorted(ids, key=lambda id_: make_id("sample", 0, id_))[:3]
        assert {row.pair_id for row in rows if row.split == split} == set(smallest)
    seeds = [{row.pair_id for row in await asked(job(pairs, retriever, sample=3, seed=seed))} for seed in range(4)]
    assert len(set(map(frozenset, seeds))) > 1


async def test_a_larger_sample_holds_the_smaller(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """Raising the sample adds pairs and drops none; a sample beyond the corpus is all of it."""
    small = {row.id for row in await asked(job(pairs, retriever, sample=2))}
    large = {row.id for row in await asked(job(pairs, retriever, sample=3))}
    whole = await asked(job(pairs, retriever, sample=99))
    assert small < large < {row.id for row in whole}
    assert [row.pair_id for row in whole] == [each.id for each in PAIRS]


async def test_contexts_of_separate_examples(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """With an example for each context, a model still sees all contexts of the pair, by rank, in one QA prompt."""
    apart = [row for each in PAIRS for row in (example(each, "c2"), example(each, "c1", first_rank=1))]
    made = job(pairs, retriever, sample=99)
    assert made.prepare is not None
    await made.prepare()
    call = scripted("An answer.", forever=True)
    rows = await processed(made, ShardRows(0, {"pairs": PAIRS, "examples": apart}), call)
    contexts = "A seal is final.\n\nThe mill grinds {papers}."
    prompt = DEFAULT_TEXT_QA_PROMPT.format(context_str=contexts, query_str=PAIRS[0].question)
    assert call.requests[0].messages[1]["content"] == prompt
    assert all([(c.chunk_id, c.rank) for c in row.contexts] == [("c2", 0), ("c1", 1)] for row in rows)


async def test_a_pair_without_contexts(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """A pair for which nothing was retrieved fails for each model, asked either way, and costs no request."""
    made = job(pairs, retriever, models=BOTH, sample=99, alone=True)
    assert made.prepare is not None
    await made.prepare()
    failed = await processed(made, ShardRows(0, {"pairs": PAIRS[:1], "examples": []}), scripted())
    assert [error.kind for error in failed if isinstance(error, Permanent)] == ["no_context"] * 4


async def test_given_pairs(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """Of a file's pairs those that brought contexts are asked with them, the others alone; the ablation adds the rest."""
    for alone, expected in (
        (False, {("p0", False), ("p3", True)}),
        (True, {("p0", False), ("p3", True), ("p3", False)}),
    ):
        made = job(pairs, retriever, sample=99, alone=alone, pairs_of="pairs.jsonl")
        assert made.prepare is not None
        await made.prepare()
        shard = ShardRows(0, {"pairs": [PAIRS[0], PAIRS[3]], "examples": [EXAMPLES[3]]})
        rows = await processed(made, shard, scripted("An answer.", forever=True))
        assert {(row.pair_id, row.retrieval) for row in rows} == expected


async def test_the_variant(pairs: Dataset[Pair], retriever: Retriever) -> None:
    """The variant changes with the models, the sample and the ways of asking, so that sealed shards are opened again, and only then."""
    variants = []
    for models, sample, alone in (
        (BASE, 2, False),
        (BASE, 2, False),
        (BOTH, 2, False),
        ({**BOTH, "tuned": "ft:other"}, 2, False),
        (BASE, 3, False),
        (BASE, 2, True),
    ):
        made = job(pairs, retriever, models=models, sample=sample, alone=alone)
        assert made.prepare is not None
        await made.prepare()
        variants.append(made.variant())
    assert variants[0] == variants[1]
    assert len(set(variants)) == 5


async def test_a_tuned_model_is_added(tmp_path: Path, pairs: Dataset[Pair], retriever: Retriever) -> None:
    """When a tuned model appears, it alone is asked; what the base answered stays as it was."""

    async def ran(models: Mapping[str, str], call: ScriptedCall) -> list[Response]:
        datasets: dict[str, Dataset[Any]] = {
            "pairs": Dataset(pairs.folder, Pair),
            "examples": sealed(tmp_path / "examples", Example, EXAMPLES[:5], EXAMPLES[5:]),
            "responses": Dataset(tmp_path / "responses", Response),
        }
        stop = Stop()
        made = job(datasets["pairs"], retriever, models=models)
        await run([made], datasets, call, stop=stop, hook=lambda _: None)
        return list(datasets["responses"].rows())

    base = await ran(BASE, scripted("From the base.", forever=True))
    assert len(base) == 4
    call = scripted("From the tuned.", forever=True)
    both = await ran(BOTH, call)
    assert {request.to for request in call.requests} == {"tuned"}
    assert len(call.requests) == 4
    assert [row for row in both if row.model == "base"] == base
    assert {row.pair_id for row in both if row.model == "tuned"} == {row.pair_id for row in base}
    assert await ran(BOTH, scripted(Fatal("nothing is to be asked"), forever=True)) == both
