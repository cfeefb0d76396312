"""One session of work on a run: open what its jobs need, run them, close everything.

It prints nothing, handles no signals and never ends the process. The caller passes a hook for events, and a `Stop`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.batches.batches import Batches
from engine.breaker import Breaker
from engine.budget import Budget
from engine.datasets import Dataset
from engine.deferrals import Deferrals
from engine.errors import BadInput
from engine.events import Event, Hook
from engine.job import Job, Pipeline
from engine.limits import Limit
from engine.requests import Call, Usage
from engine.runner import run
from engine.shards import total
from engine.signals import Stop, Stopped
from engine.workers import Workers
from jobs.cluster.spread import Heard, begun, shared, spread_jobs
from jobs.models.preflight import Preflight, Trial
from jobs.models.roles import ModelCalls, check_connections, used
from jobs.opening import model_calls, parser_settings, run_context
from jobs.parsing.stage import worker_count
from jobs.pipeline import build
from jobs.run.context import RunContext
from jobs.run.counts import Counts
from jobs.run.event_log import EventLog
from jobs.run.own_jobs import with_own_jobs
from jobs.run.traffic import Traffic
from jobs.trials import trials
from jobs.work import Work

if TYPE_CHECKING:
    from engine.cluster.head import Cluster
    from jobs.report.data import ReportData

__all__ = ["Outcome", "Session", "looked_at", "opened"]

_FIRST_PAPERS = 2
"""The papers of the first shard."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a session ended: `worked` inputs were finished in it; `failed` counts failures of this and earlier sessions.

    `stopped` says that a stop was requested before all was done. `report` is None if none was made.
    """

    stopped: bool
    worked: int
    failed: int
    report: ReportData | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open and locked run; `run` does the work, once. `limits` are name, address and limit of each model."""

    work: Work
    context: RunContext
    pipeline: Pipeline
    calls: Call
    counts: Counts
    traffic: Traffic
    limits: Callable[[], Sequence[tuple[str, str, Limit]]]
    deferrals: Deferrals | None
    cluster: Cluster | None
    reports: Sequence[ReportData]

    async def run(self) -> Outcome:
        """Run the chosen jobs until they end or are stopped. Raises the `Fatal` that ended them; what was paid for is
        kept."""
        context, stopped = self.context, False
        try:
            await run(
                self.pipeline,
                context.datasets,
                self.calls,
                stop=context.stop,
                hook=context.hook,
                retry=self.work.selection.retry,
                deferrals=self.deferrals,
                elsewhere=self.cluster,
            )
        except Stopped:
            stopped = True
        finally:
            if self.cluster is not None:
                await self.cluster.last_reports()
        return Outcome(
            stopped=stopped,
            worked=self.counts.worked,
            failed=self.counts.failed,
            report=self.reports[-1] if self.reports else None,
        )


@asynccontextmanager
async def looked_at(work: Work, *, embedded: str) -> AsyncIterator[tuple[RunContext, Pipeline]]:
    """The context and the jobs of a run that is there, under the settings of `work`; it is locked meanwhile.

    `embedded` names the weights behind "local", which need not be there.

    Raises `BadInput` where the run cannot go on under these settings, and while another process works on it.
    """
    async with AsyncExitStack() as stack:
        context = replace(await _context(stack, work, [], stop=Stop(), hook=lambda event: None), embedded=embedded)
        pipeline = with_own_jobs(build(context), work.own, context.datasets)
        _refuse_changes(pipeline, context.datasets, ())
        stack.enter_context(work.folder.held(None))
        yield context, pipeline


@asynccontextmanager
async def opened(work: Work, *, stop: Stop, hook: Hook) -> AsyncIterator[Session]:
    """Open what `work` needs, and lock the run's folder while inside.

    Raises `BadInput` and other `Fatal` errors, in one line each; nothing is written before all checks have passed.
    """
    counts, log, reports = Counts(), EventLog(), list["ReportData"]()
    async with AsyncExitStack() as stack:
        events = _all(counts, hook, log, Breaker(stop, spared={"parse"}))
        heard = Heard()
        cluster = begun(work, stop=stop, hook=events, heard=heard)
        if cluster is not None:
            await stack.enter_async_context(cluster)
        context = await _context(stack, work, reports, spread=cluster is not None, stop=stop, hook=events)
        pipeline = with_own_jobs(build(context), work.own, context.datasets)
        chosen, redone = work.selection.chosen(pipeline), work.selection.redone(pipeline)
        _refuse_changes(chosen, context.datasets, redone)
        if work.asks:
            await check_connections(work.config)
        calls = await stack.enter_async_context(await _calls(context, work, cluster))
        preflight = await _preflight(work, context, calls, chosen=chosen, redone=redone)
        # The lines above only read. From here on the folder is written.
        stack.enter_context(work.folder.held(None if work.keeps_settings else work.config))
        stack.enter_context(log.to(work.folder.log))
        await preflight.keep(lambda usage: asyncio.to_thread(work.folder.add_preflight, usage))
        await asyncio.to_thread(_discard, redone, context)
        deferrals = await _deferrals(stack, work, context, calls)
        if cluster is not None:
            heard.traffic, heard.parsers = calls.traffic, context.workers
            batched = () if deferrals is None else deferrals.roles
            cluster.serve(spread_jobs(work.config, chosen, batched), before=preflight.try_before)
        yield Session(
            work=work,
            context=context,
            pipeline=chosen,
            calls=preflight,
            counts=counts,
            traffic=calls.traffic,
            limits=lambda: calls.limits,
            deferrals=deferrals,
            cluster=cluster,
            reports=reports,
        )


async def _context(
    stack: AsyncExitStack, work: Work, reports: list[ReportData], *, spread: bool = False, stop: Stop, hook: Hook
) -> RunContext:
    """What the jobs are built from. With `spread` only the first papers are parsed here."""
    processes = worker_count(work.config)
    workers = Workers(**parser_settings(work.config, min(processes, _FIRST_PAPERS) if spread else processes))
    await stack.enter_async_context(workers)
    if work.papers and not work.folder.exists:
        workers.begin(children=_FIRST_PAPERS)  # at once: a child needs half a second to load the parsers
    context = await run_context(stack, work, workers, stop=stop, hook=hook)
    return replace(context, show=reports.append)


async def _calls(context: RunContext, work: Work, cluster: Cluster | None) -> ModelCalls:
    budget, spent = context.config.budget, await asyncio.to_thread(_spent, context)
    if cluster is not None:
        return model_calls(context, *shared(cluster, work, spent))
    return model_calls(context, Budget(usd=budget.usd, tokens=budget.tokens, spent=spent))


async def _deferrals(stack: AsyncExitStack, work: Work, context: RunContext, calls: ModelCalls) -> Batches | None:
    """The batches of the run; None where no model is asked in batches, and none are left of an earlier process."""
    folder = context.folder.batches
    if not work.asks or not (folder.exists() or any(model.batch for model in used(context.config).values())):
        return None
    batches = Batches(folder, calls.batch_service, stop=context.stop, hook=context.hook, budget=calls.capped)
    await stack.enter_async_context(batches)
    await calls.defer(batches)
    return batches


async def _preflight(work: Work, context: RunContext, calls: Call, *, chosen: Pipeline, redone: Pipeline) -> Preflight:
    """The call of the session. Models that are new to the run are tried now, others before their first request."""
    names = [step.name for step in chosen]
    remade = [step.name for step in redone]
    tried: Sequence[Trial] = []
    if work.preflight and work.asks:
        tried = await asyncio.to_thread(trials, context.config, context.datasets, names, redo=remade)
    preflight = Preflight(tried, calls, order=names)
    await preflight.try_sections(await asyncio.to_thread(_new_sections, work))
    return preflight


def _new_sections(work: Work) -> set[str]:
    """The sections whose model differs from the run's present one."""
    now = work.config.models.sections()
    before = work.folder.config().models.sections() if work.folder.exists else {}
    return {name for name, model in now.items() if name not in before or before[name].asked() != model.asked()}


def _refuse_changes(pipeline: Pipeline, datasets: Mapping[str, Dataset[Any]], redone: Pipeline) -> None:
    """Raise `BadInput` if rows that stay were made under other settings, or if a part of them is of an earlier
    release."""
    names = {step.name for step in redone}
    for step in pipeline:
        if isinstance(step, Job) and step.name not in names:
            older = datasets[step.writes].check(step.name, step.fingerprint, step.versions, step.raisable)
            if older and datasets[step.writes].unsealed():
                raise BadInput(older)


def _discard(redone: Pipeline, context: RunContext) -> None:
    """Delete the rows of the redone jobs, after recording their cost: a budget counts all that was paid."""
    jobs = [step for step in redone if isinstance(step, Job)]
    if jobs:
        context.folder.add_discarded(total(context.datasets[job.writes].usage() for job in jobs))
    for job in jobs:
        if job.name == "parse":
            context.catalogue.forget_texts()
        context.datasets[job.writes].discard()


def _spent(context: RunContext) -> Usage | None:
    """What the run has paid for so far; None without a budget."""
    if context.config.budget.usd is None and context.config.budget.tokens is None:
        return None
    return context.folder.paid()


def _all(*hooks: Hook) -> Hook:
    def hook(event: Event) -> None:
        for each in hooks:
            each(event)

    return hook
