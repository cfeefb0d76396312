"""What the jobs of a run are built with, opened: by the process that a run is started in, and by each of its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any

from engine.budget import Budget
from engine.events import Hook
from engine.requests import Call
from engine.signals import Stop
from engine.workers import Workers
from jobs.config import Config
from jobs.curation.curate import kept_pairs
from jobs.evaluation.asked import Asked
from jobs.models.roles import ModelCalls
from jobs.parsing.deal import Catalogue
from jobs.parsing.parse import WARM_UP
from jobs.retrieval.index import Retriever
from jobs.review.reviewed import reviewed
from jobs.run.context import RunContext
from jobs.run.own_jobs import own_datasets
from jobs.tuning.tuning_jobs import served, tuned_model
from jobs.work import Work

if TYPE_CHECKING:
    from engine.cluster.leaseholder import Leaseholder

__all__ = ["model_calls", "parser_settings", "run_context"]


def parser_settings(config: Config, processes: int) -> dict[str, Any]:
    """The arguments of the `Workers` that read papers, with `processes` processes."""
    return {
        "processes": processes,
        "timeout_s": config.parse.timeout_s,
        "memory_bytes": config.parse.memory_mb << 20,
        "initializer": WARM_UP,
    }


async def run_context(stack: AsyncExitStack, work: Work, workers: Workers, *, stop: Stop, hook: Hook) -> RunContext:
    """What the jobs are built from, without a place for the report. Files are opened at their first use, and closed with
    `stack`."""
    config, folder, weights = work.config, work.folder, work.weights
    reviews = {} if config.evaluate.pairs else await asyncio.to_thread(reviewed, folder)
    datasets = {**folder.datasets(), **reviews, **own_datasets(folder, work.own)}
    return RunContext(
        config=config,
        folder=folder,
        datasets=datasets,
        papers=work.papers,
        workers=workers,
        catalogue=stack.enter_context(closing(Catalogue(folder.catalogue))),
        retriever=Retriever(folder.store, approximate_from=config.index.approximate_from),
        asked=Asked(kept_pairs(datasets, config), datasets["examples"], config.evaluate, config.seed),
        embedded=weights.weights.name if weights else "local",
        weights=weights.path if weights else None,
        tuned=lambda: tuned_model(folder.path),
        show=lambda report: None,
        stop=stop,
        hook=hook,
    )


def model_calls(
    context: RunContext,
    budget: Budget,
    leases: Leaseholder | None = None,
    watched: Callable[[Call], Call] = lambda call: call,
) -> ModelCalls:
    """The models of the run; `watched` wraps what sends a request, `leases` has a part of what processes share."""
    return ModelCalls(
        context.config,
        budget=budget,
        weights=context.weights,
        stop=context.stop,
        hook=context.hook,
        tuned=context.tuned,
        served=lambda: served(context.folder.path, context.name(context.config.models.base)),
        watched=watched,
        leases=leases,
    )
