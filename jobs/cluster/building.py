"""A worker of a run: its jobs are built as those of the process that the run was started in, from the same configuration."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.budget import Budget
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.worker import Alive, Events, Worker
from engine.datasets import Dataset
from engine.job import Job
from engine.shard_run import JobContext
from engine.signals import Stop
from engine.workers import Workers
from jobs.cluster.setup import Setup
from jobs.config import Config
from jobs.opening import model_calls, run_context
from jobs.pipeline import build
from jobs.records import Review
from jobs.registry import REVIEWS
from jobs.run.folder import RunFolder
from jobs.work import Work

__all__ = ["worker"]

_LEAST_SLOTS = 128
"""Slots that a job has at each worker, where it has as many: two batches of embeddings."""


async def worker(stack: AsyncExitStack, setup: Setup, workers: Workers) -> Worker:
    """The worker of `setup`, whose papers are read by `workers`; what it opens is closed with `stack`."""
    stop, events, alive = Stop(), Events(), Alive()
    stack.callback(alive.close)
    folder = RunFolder(Path(setup.folder))
    work = Work(folder=folder, config=Config.model_validate_json(setup.config))
    context = await run_context(stack, work, workers, stop=stop, hook=events)
    context = replace(context, embedded=setup.embedded, datasets=_datasets(folder, reviewed=setup.reviewed))
    caps = context.config.budget
    budget = Budget(usd=caps.usd, tokens=caps.tokens)
    capped = caps.usd is not None or caps.tokens is not None
    leases = Leaseholder(budget if capped else None, starved=events.urgent.set)
    calls = model_calls(context, budget, leases, alive.watched)
    await stack.enter_async_context(calls)
    jobs = {
        job.name: JobContext(
            job=job,
            rank=rank,
            inputs=[context.datasets[name] for name in job.reads],
            output=context.datasets[job.writes],
            call=calls,
            stop=stop,
            emit=events,
            retry=lambda job, failure: False,  # the head names what is tried again
            slots=asyncio.Semaphore(job.slots),
        )
        for rank, job in enumerate(_with_share(build(context), setup.share))
        if isinstance(job, Job)
    }
    return Worker(jobs, stop=stop, events=events, alive=alive, leases=leases, in_flight=lambda: calls.traffic.jobs)


def _datasets(folder: RunFolder, *, reviewed: bool) -> dict[str, Dataset[Any]]:
    """Those that the run has; the decisions about pairs are sent with each shard."""
    return {**folder.datasets(), **({REVIEWS: Dataset(folder.reviews, Review)} if reviewed else {})}


def _with_share(pipeline: Any, share: float) -> list[Any]:
    """The pipeline with this worker's share of the slots of each job that asks a model."""
    return [
        replace(step, slots=max(math.ceil(step.slots * share), min(step.slots, _LEAST_SLOTS)))
        if isinstance(step, Job)
        else step
        for step in pipeline
    ]
