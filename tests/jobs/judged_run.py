"""A small run whose datasets are written by hand, for tests of what is said of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from samples import chunk, example, pair, response, sealed, vector

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.job import Item, Job
from engine.records import make_id
from engine.requests import Call
from engine.runner import run
from engine.signals import Stop
from engine.testing import scripted
from jobs.models.chat import chat
from jobs.records import Example, Pair, Paper, Question, Response, Vector, Verdict
from jobs.run.configfile import validate
from jobs.run.folder import RunFolder

__all__ = ["REMOTE", "judged_run", "ran"]

CHUNKS = [chunk("c1", paper="p1"), chunk("c2", paper="p1", split="val")]
PAIRS = [pair("a1", chunk="c1"), pair("a2", chunk="c2", split="val")]
REMOTE = validate(
    {
        "models": {
            "generator": {"model": "gen", "input_usd_per_million": 1.0, "output_usd_per_million": 2.0},
            "base": {"model": "small"},
            "judge": {"model": "strict"},
            "embedding": {"model": "vectors", "batch_size": 10},
        },
        "evaluate": {"sample": 5},
    }
).resolved(papers=50)


def paper(name: str) -> Paper:
    return Paper(id=name, parent="", path=f"/in/[x]/{name}.pdf", sha256=name, bytes=1)


async def ran(job: str, dataset: Dataset[Any], above: Dataset[Any], outcomes: dict[str, list[Any] | Permanent]) -> None:
    """Seal shard 0 of `dataset` as `job` would: for each input its rows or its failure, and one paid request."""

    async def process(outcome: list[Any] | Permanent, call: Call) -> list[Any]:
        await call(chat("generator", [], max_tokens=9))
        if isinstance(outcome, Permanent):
            raise outcome
        return outcome

    made = Job(
        name=job,
        reads=(above.name,),
        writes=dataset.name,
        row=dataset.row,
        expand=lambda _: [Item(id=id_, value=outcome) for id_, outcome in outcomes.items()],
        process=process,
    )
    datasets = {above.name: Dataset(above.folder, above.row), dataset.name: dataset}
    await run([made], datasets, scripted("An answer.", forever=True), stop=Stop(), hook=lambda _: None)


async def judged_run(path: Path) -> RunFolder:
    """A run with three papers, one of which failed, a failed question, and two models judged on two pairs."""
    folder = RunFolder(path)
    with folder.held(REMOTE):
        pass
    made = folder.datasets()
    at = {name: dataset.folder for name, dataset in made.items()}
    papers = sealed(at["papers"], Paper, [paper("p1"), paper("p2"), paper("p3")])
    broken = Permanent("it is [damaged]", kind="damaged")
    await ran("parse", made["chunks"], papers, {"p1": CHUNKS, "p2": broken, "p3": []})
    refused = Permanent("withheld", kind="content_filter").replying("[no] <b>way</b>\x1b[31m")
    asked = Question(id="q", parent="c1", chunk_id="c1", paper_id="p1", question="?", split="train")
    await ran("ask", made["questions"], made["chunks"], {"c1": [asked], "c2": refused})
    sealed(at["pairs"], Pair, PAIRS)
    sealed(at["index"], Vector, [vector(row, 1.0) for row in CHUNKS])
    sealed(at["examples"], Example, [example(row, "c1") for row in PAIRS])
    asked_of = [(row, model) for row in PAIRS for model in ("base", "tuned")]
    answers = [
        msgspec.structs.replace(response(f"r{number}", split=row.split), pair_id=row.id, model=model)
        for number, (row, model) in enumerate(asked_of)
    ]
    sealed(at["responses"], Response, answers)
    sealed(at["verdicts"], Verdict, [verdict(row, None if row.id == "r3" else 4.0) for row in answers])
    return folder


def verdict(row: Response, correctness: float | None) -> Verdict:
    return Verdict(
        id=make_id("verdict", row.id),
        parent=row.id,
        pair_id=row.pair_id,
        paper_id="p1",
        model=row.model,
        correctness=correctness,
        passing=None if correctness is None else correctness >= 4,
        feedback="",
        semantic_similarity=0.5,
        split=row.split,
    )
