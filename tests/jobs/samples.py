"""Rows for tests of single jobs, a call that embeds texts into few dimensions, and a job run on what is sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.job import Job, ShardRows
from engine.records import make_id
from engine.requests import Call, Reply, Request
from engine.testing import embedding_reply
from jobs.models.embeddings import pack
from jobs.records import Chunk, Context, Example, Pair, Question, Response, Vector


def chunk(name: str, *, paper: str = "paper-a", split: str = "train", text: str = "", title: str = "On Mills") -> Chunk:
    return Chunk(
        id=name,
        parent=paper,
        paper_id=paper,
        title=title,
        position=0,
        text=text or f"The text of {name}.",
        page_first=1,
        page_last=2,
        split=split,
    )


def question(name: str, *, chunk: str, paper: str = "paper-a", text: str = "", draft: str = "") -> Question:
    return Question(
        id=name,
        parent=chunk,
        chunk_id=chunk,
        paper_id=paper,
        question=text or f"What does {name} ask?",
        split="train",
        evidence="A sentence." if draft else "",
        draft=draft,
    )


def pair(name: str, *, chunk: str, paper: str = "paper-a", split: str = "train", text: str = "") -> Pair:
    return Pair(
        id=name,
        parent=f"question of {name}",
        chunk_id=chunk,
        paper_id=paper,
        question=text or f"What does {name} ask?",
        answer=f"The answer of {name}.",
        split=split,
    )


def example(pair: Pair, *chunks: str, first_rank: int = 0, title: str = "On Mills") -> Example:
    contexts = [
        Context(chunk_id=id_, rank=first_rank + place, score=1 - 0.1 * place) for place, id_ in enumerate(chunks)
    ]
    return Example(
        id=make_id("example", pair.id, *chunks),
        parent=pair.id,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=title,
        question=pair.question,
        prompt="the prompt",
        answer=pair.answer,
        contexts=contexts,
        split=pair.split,
    )


def response(name: str, *, text: str = "Stones.", reference: str = "Two stones.", split: str = "val") -> Response:
    return Response(
        id=name,
        parent=f"pair of {name}",
        pair_id=f"pair of {name}",
        paper_id="paper-a",
        model="base",
        question="What grinds?",
        reference=reference,
        response=text,
        contexts=[],
        split=split,
    )


def vector(chunk: Chunk, *values: float) -> Vector:
    return Vector(id=make_id("vector", chunk.id), parent=chunk.id, vector=pack(values))


def sealed(folder: Path, row: type[Any], *shards: Sequence[Any]) -> Dataset[Any]:
    """A dataset of these shards, each sealed."""
    dataset: Dataset[Any] = Dataset(folder, row)
    for index, rows in enumerate(shards):
        dataset.write_sealed(index, rows)
    return dataset


def embedder(embed: Callable[[str], Sequence[float]]) -> Callable[[Request], Reply]:
    """A turn of `engine.testing.scripted` that embeds each text."""
    return lambda request: embedding_reply([embed(text) for text in request.texts])


async def processed(job: Job, shard: ShardRows, call: Call) -> list[Any]:
    """What `job` makes of one shard, in order: rows, and in their place what it raised for one record."""
    made: list[Any] = []
    for item in job.expand(shard):
        try:
            rows = await job.process(item.value, call)
        except Permanent as error:
            made.append(error)
        else:
            assert all(job.origin(row) == item.id for row in rows)
            made += rows
    return made
