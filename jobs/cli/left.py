"""What a run that is there has left to do: how many inputs of each job that asks a model, at most.

What is left of the rows that are there is counted by the jobs themselves; what it adds to the jobs below is a bound.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.datasets import Dataset
from engine.job import Item, Job, Pipeline
from engine.pending import pending
from jobs.cli.estimate import asked_sections
from jobs.curation.curate import kept_pairs
from jobs.evaluation.lexical import LEXICAL
from jobs.evaluation.stage import compared
from jobs.generation.quota import is_raised
from jobs.registry import declared
from jobs.run.context import RunContext
from jobs.session import looked_at
from jobs.work import Work

__all__ = ["left_of"]


def left_of(work: Work) -> Mapping[str, int] | None:
    """The inputs that each job has left, by its name; None for a run without questions. Nothing is asked; blocks.

    Raises `BadInput` where the run cannot go on under these settings.
    """
    return asyncio.run(_left(work))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coming:
    """How many pairs there will be more, at most, how many of these will be in the sample, and how many are in it now."""

    pairs: int
    sampled: int
    in_sample: int


async def _left(work: Work) -> Mapping[str, int] | None:
    datasets, models = work.folder.datasets(), work.config.models
    made = await asyncio.to_thread(datasets["questions"].made)
    if made is None:
        return None
    raised = await asyncio.to_thread(is_raised, datasets["questions"], work.config.ask)
    embedded = str(made.fingerprint.get("model")) if models.generator.model == "local" else _judge(datasets)
    async with looked_at(work, embedded=embedded) as (context, pipeline):
        items, paid = Counter[str](), Counter[str]()
        for job in _asking(pipeline):
            if job.prepare is not None:
                await job.prepare()
            await asyncio.to_thread(_count, job, context, items, paid)
        coming = await asyncio.to_thread(_coming, context, items["answer"] + items["questions"], raised)
        return _with_added(context, items, paid, coming)


def _judge(datasets: Mapping[str, Dataset[Any]]) -> str:
    """The name of the judge of the verdicts that are there."""
    made = datasets["verdicts"].made()
    return "local" if made is None else str(made.fingerprint.get("judge"))


def _asking(pipeline: Pipeline) -> list[Job]:
    roles = declared("papers")
    return [job for job in pipeline if isinstance(job, Job) and job.name in roles and roles[job.name].role]


def _count(job: Job, context: RunContext, items: Counter[str], paid: Counter[str]) -> None:
    """Count what `job` has left of rows that are there; under "questions" how many `ask` will ask for."""
    for item in pending(job, context.datasets):
        items[job.name] += 1
        paid[job.name] += _is_paid(job.name, item)
        if job.name == "ask":
            items["questions"] += item.value.count


def _is_paid(job: str, item: Item) -> bool:
    """Whether an input may cost a request."""
    if job == "answer":
        return not item.value[0].draft
    if job == "augment":
        return not item.value.vector
    return job != "assess" or item.value.metric not in LEXICAL


def _coming(context: RunContext, pairs: int, raised: bool) -> _Coming:
    """What `pairs` more do to the sample: those of a raise come behind all others, those of new papers may replace them."""
    config, sample = context.config, context.asked.sample
    in_sample = sum(pair.id in sample for pair in kept_pairs(context.datasets, config).rows())
    room = 2 * config.evaluate.sample - (in_sample if raised else 0)
    return _Coming(pairs=pairs, sampled=min(pairs, room), in_sample=in_sample)


def _with_added(
    context: RunContext, items: Mapping[str, int], paid: Mapping[str, int], coming: _Coming
) -> dict[str, int]:
    config = context.config
    settings = config.evaluate
    probes = items["probe"] + coming.pairs
    answers = items["respond"] + _responses(context, coming)
    asking = sum(metric not in LEXICAL for metric in settings.metrics)

    def share(of: int) -> int:
        return -(-answers * min(of, settings.sample) // settings.sample)

    return {
        "ask": items["ask"],
        "answer": paid["answer"] + (0 if config.ask.drafts else items["questions"]),
        "index": items["index"],
        "probe": probes,
        "critique": items["critique"] + (probes if config.curate.embeds else coming.pairs),
        "augment": paid["augment"] + coming.pairs,
        "respond": answers,
        "similarity": items["similarity"] + answers,
        "judge": items["judge"] + answers,
        "assess": paid["assess"] + asking * answers,
        "rejudge": items["rejudge"] + share(settings.rejudge),
        "prefer": items["prefer"] + 2 * share(settings.pairwise),
    }


def _responses(context: RunContext, coming: _Coming) -> int:
    """The answers to pairs that are still to come, and all answers of a tuned model: more pairs train it again."""
    config = context.config
    models, there = len(asked_sections(config, "respond")), len(compared(context))
    trained = int(config.finetune.backend != "none" and coming.pairs > 0)
    ways = 2 if config.evaluate.without_retrieval else 1
    return ways * (models * coming.sampled + max(trained, models - there) * coming.in_sample)
