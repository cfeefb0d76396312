"""Tuning does what tuning does: asked without the contexts that it was trained with, the tuned model says more of it.

`make lora ARGS='-m soak -s'` runs it and prints the figures: minutes on two cores.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from engine.signals import Stop
from jobs.models.embeddings import cosine, embedding, vectors
from jobs.models.llama_server import LocalServer
from jobs.models.minilm import LocalEmbedding
from jobs.models.prompts.llama_index import prompts
from jobs.report.intervals import Difference, paired_difference
from jobs.tuning.lora.tune import tune
from jobs.tuning.tuning_jobs import served
from tests.lora.conftest import say, settings

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SYSTEM = {"role": "system", "content": "You are a helpful assistant that answers questions about gristmill."}
PAIRS = [json.loads(line) for line in (Path(__file__).parent / "closed_book.jsonl").read_text("utf-8").splitlines()]


async def test_training_questions_without_retrieval(smollm2: Path, tmp_path: Path) -> None:
    """Semantic similarity to the reference: the 95 % interval of tuned over base, question by question, excludes 0."""
    write_training_data(tmp_path)
    await tune(
        folder=tmp_path,
        base=smollm2,
        base_name=smollm2.name,
        settings=settings(epochs=3, batch_size=2, learning_rate=1e-3, rank=8, dropout=0.05),
        checkpoint_every=10,
        validate_every=10,
        stop=Stop(),
        hook=print,
    )
    found = await compared(tmp_path, smollm2)
    assert found.low is not None
    assert found.low > 0


async def compared(folder: Path, base: Path) -> Difference:
    """How much more similar to the references the answers of the model tuned in `folder` are than those of its base."""
    made = served(folder, base.name)
    assert made
    before = await similarities("base", LocalServer(base, context_tokens=512))
    after = await similarities("tuned", LocalServer(base, context_tokens=512, lora=made.adapter))
    found = paired_difference(list(zip(after, before, strict=True)), [pair["question"] for pair in PAIRS])
    print(f"base {sum(before) / len(PAIRS):.3f}, tuned {sum(after) / len(PAIRS):.3f}, tuned over base: {found}")
    return found


def write_training_data(folder: Path) -> None:
    """What the pipeline writes: the context before the question, in the prompt of the comparison."""
    (folder / "dataset").mkdir()
    asked = [prompts().text_qa.format(context_str=pair["context"], query_str=pair["question"]) for pair in PAIRS]
    lines = [
        {"messages": [SYSTEM, {"role": "user", "content": prompt}, {"role": "assistant", "content": pair["answer"]}]}
        for prompt, pair in zip(asked, PAIRS, strict=True)
    ]
    (folder / "dataset" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "dataset" / "val.jsonl").write_text("", "utf-8")


async def similarities(name: str, model: LocalServer) -> list[float]:
    """Of each bare question's answer to its reference."""
    async with model as server:
        asked = [[SYSTEM, {"role": "user", "content": pair["question"]}] for pair in PAIRS]
        answers = await asyncio.gather(*(say(server, turns, 64) for turns in asked))
    for pair, answer in zip(PAIRS, answers, strict=True):
        print(f"{name}: {pair['question']} → {' '.join(answer.split())}")
    with LocalEmbedding() as call:
        ours = vectors(await call(embedding(answers)))
        references = vectors(await call(embedding([pair["answer"] for pair in PAIRS])))
    return [cosine(one, other) for one, other in zip(ours, references, strict=True)]
