"""Working on a run: open what it needs, run the pipeline, close everything, say how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.breaker import Breaker
from engine.budget import Budget
from engine.datasets import Dataset
from engine.errors import BadInput
from engine.events import Event, Hook, log_events
from engine.files import naming_the_disk
from engine.job import Job, Pipeline, downstream, find, until
from engine.requests import Usage
from engine.runner import Retry, run
from engine.shards import total
from engine.signals import Stop, Stopped, stop_on_signals
from engine.workers import Workers
from jobs.cli.progress import Progress
from jobs.config import Config
from jobs.models.roles import ModelCalls, check, used
from jobs.models.weights import Fetched, default_weights
from jobs.parsing.deal import Catalogue
from jobs.parsing.parse import WARM_UP
from jobs.parsing.stage import worker_count
from jobs.pipeline import build
from jobs.registry import stoppable
from jobs.run.background_imports import Foresight
from jobs.run.context import RunContext
from jobs.run.folder import RunFolder
from jobs.tuning.stage import check_tunable
from jobs.tuning.tuning_jobs import served, tuned_model

if TYPE_CHECKING:
    from jobs.report.data import ReportData

__all__ = ["DONE", "FAILED_RECORDS", "STOPPED", "ready_models", "work"]

DONE, FAILED_RECORDS, STOPPED = 0, 3, 130
"""Exit codes: all done; done, with some records failed; stopped by a signal, to be resumed."""

_LOG_BYTES = 10 << 20
_STOPPING = "stopping: what is in flight is finished and saved; once more to stop at once"
_NEEDS_NO_MODEL = {"deal", "parse", "export", "report"}
"""Steps for which no key, no weights and no price are asked for."""


async def work(
    folder: RunFolder,
    config: Config,
    papers: Sequence[Path],
    *,
    weights: Fetched | None = None,
    last: str | None = None,
    only: str | None = None,
    redo: str | None = None,
    keep_settings: bool = True,
    retry: Retry = lambda job, failure: False,
) -> int:
    """Run the pipeline on `folder` up to the job `last`, or just the step `only`; returns the exit code.

    `weights` are those of the embedded model, see `ready_models`. `redo` names a job whose rows, and all that follows
    from them, are made anew. `retry` says which failures are tried again. Without `keep_settings` the run keeps the
    settings that it has. Raises `BadInput` and other `Fatal` errors, in one line each; nothing is written before the
    input is checked.
    """
    from rich.console import Console

    from jobs.report.console_table import print_table

    stop = Stop()
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    progress = Progress(console, ("deal", *stoppable()))
    reports: list[ReportData] = []
    log = _EventLog()
    hook = _all(progress, log, Breaker(stop, spared={"parse"}), Foresight())
    async with AsyncExitStack() as opened:
        context = await _open(opened, folder, config, papers, weights, show=reports.append, stop=stop, hook=hook)
        pipeline = build(context)
        chosen = [find(pipeline, only)] if only else until(pipeline, last) if last else pipeline
        anew = downstream(pipeline, redo) if redo else []
        if any(step not in chosen for step in anew[:1]):
            raise BadInput(f"--until {last} ends before {redo}: nothing of it would be made anew")
        _refuse_changes(chosen, context.datasets, anew)
        calls = await opened.enter_async_context(await _calls(context, weights))
        opened.enter_context(folder.held(config if keep_settings else None))
        opened.enter_context(log.to(folder.log))
        await asyncio.to_thread(_discard, anew, context)
        opened.enter_context(stop_on_signals(stop, on_first=lambda: console.print(_STOPPING)))
        try:
            with progress.showing():
                await run(chosen, context.datasets, calls, stop=stop, hook=hook, retry=retry)
        except Stopped:
            console.print(f"stopped; run the same command again to go on with {folder.path}")
            return STOPPED
    if not progress.worked and only is None:
        console.print("nothing is left to do")
    for data in reports:
        print_table(data, Console())
    return FAILED_RECORDS if progress.failed else DONE


async def _open(
    opened: AsyncExitStack,
    folder: RunFolder,
    config: Config,
    papers: Sequence[Path],
    weights: Fetched | None,
    *,
    show: Callable[[ReportData], None],
    stop: Stop,
    hook: Hook,
) -> RunContext:
    """What the jobs are made with; processes and files are opened by their first use, and closed with `opened`."""
    workers = Workers(
        processes=worker_count(config),
        timeout_s=config.parse.timeout_s,
        memory_bytes=config.parse.memory_mb << 20,
        initializer=WARM_UP,
    )
    return RunContext(
        config=config,
        folder=folder,
        datasets=folder.datasets(),
        papers=papers,
        workers=await opened.enter_async_context(workers),
        catalogue=opened.enter_context(closing(Catalogue(folder.catalogue))),
        embedded=weights.weights.name if weights else "local",
        weights=weights.path if weights else None,
        tuned=lambda: tuned_model(folder.path),
        show=show,
        stop=stop,
        hook=hook,
    )


async def _calls(context: RunContext, weights: Fetched | None) -> ModelCalls:
    budget = context.config.budget
    return ModelCalls(
        context.config,
        budget=Budget(usd=budget.usd, tokens=budget.tokens, spent=await asyncio.to_thread(_spent, context)),
        weights=weights.path if weights else None,
        stop=context.stop,
        hook=context.hook,
        tuned=context.tuned,
        served=lambda: served(context.folder.path, context.name(context.config.models.base)),
    )


def ready_models(config: Config, *, last: str | None = None, only: str | None = None) -> Fetched | None:
    """Check that every model can be called that a step up to `last` may call, and fetch the embedded one; blocks.

    Returns the weights where a role has the embedded model. Raises `BadInput` for a key or a price that is not set.
    Called before the event loop runs, so that an interrupt during the download is one of the whole program.
    """
    jobs = stoppable()
    steps = [only] if only else jobs[: jobs.index(last) + 1] if last else jobs
    if _NEEDS_NO_MODEL.issuperset(steps):
        return None
    check(config)
    check_tunable(config)
    chatting = [model for role, model in used(config).items() if role != "embedding"]
    if not any(model.model == "local" for model in chatting):
        return None
    fetched = default_weights(lambda line: print(line, file=sys.stderr))
    if fetched.note:
        print(fetched.note, file=sys.stderr)
    return fetched


def _refuse_changes(pipeline: Pipeline, datasets: Mapping[str, Dataset[Any]], anew: Pipeline) -> None:
    """Raise `BadInput` when rows that are to be kept were made under other settings."""
    redone = {step.name for step in anew}
    for step in pipeline:
        if isinstance(step, Job) and step.name not in redone:
            datasets[step.writes].check(step.name, step.fingerprint)


def _discard(anew: Pipeline, context: RunContext) -> None:
    """Delete what is to be made anew, after writing down what it had cost: a budget is over all that was paid."""
    jobs = [step for step in anew if isinstance(step, Job)]
    if jobs:
        context.folder.add_discarded(total(context.datasets[job.writes].usage() for job in jobs))
    for job in jobs:
        if job.name == "parse":
            context.catalogue.forget_texts()
        context.datasets[job.writes].discard()


def _spent(context: RunContext) -> Usage | None:
    """What the run has paid for so far, where a budget needs it: the sum of all seals, and what was discarded."""
    if context.config.budget.usd is None and context.config.budget.tokens is None:
        return None
    return context.folder.paid()


def _all(*hooks: Hook) -> Hook:
    def hook(event: Event) -> None:
        for tell in hooks:
            tell(event)

    return hook


class _EventLog:
    """Events as JSON lines in a file of bounded size; nothing before the file is there."""

    def __init__(self) -> None:
        self._tell: Hook = lambda event: None

    def __call__(self, event: Event) -> None:
        self._tell(event)

    @contextmanager
    def to(self, path: Path) -> Iterator[None]:
        logger = logging.getLogger("gristmill")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        with naming_the_disk(path):
            handler = _LogFile(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
        handler.setFormatter(_Lines())
        logger.addHandler(handler)
        self._tell = log_events(logger)
        try:
            yield
        finally:
            self._tell = lambda event: None
            logger.removeHandler(handler)
            with naming_the_disk(path):
                handler.close()


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """What cannot be written ends the run like anything that cannot; the default prints a traceback and goes on."""
        with naming_the_disk(Path(self.baseFilename)):
            raise  # noqa: PLE0704 - it is called while the error is handled


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "monotonic_s": round(time.monotonic(), 3),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False)
