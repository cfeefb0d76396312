"""The Python API: run a pipeline inside a running event loop, for example in a notebook or a service.

The command line uses the same `jobs.work` and `jobs.session`. Nothing here prints, ends the process or handles signals;
errors are raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.events import AttemptFailed, BatchChanged, Event, Note
from engine.job import Job
from engine.requests import Usage
from engine.shards import Failure as FailedRecord
from engine.signals import Stop
from jobs.config import Config
from jobs.generation.deal_pairs import configured
from jobs.run import configfile
from jobs.run.batches import state_word
from jobs.run.counts import Counts
from jobs.run.folder import RunFolder
from jobs.run.own_jobs import own_datasets
from jobs.session import Outcome, opened
from jobs.work import Selection, prepare

if TYPE_CHECKING:
    from jobs.report.collect import JobState
    from jobs.report.data import Failure, ReportData, Row

__all__ = ["JobProgress", "RunResult", "run_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """The progress of one job, in inputs. `state` is "waits", "works" or "done".

    `done`, `failed` and `usage` include earlier calls; `total` grows while the job before it is not finished. `note` is
    a line for the user, mostly "".
    """

    job: str
    state: str = "works"
    done: int = 0
    total: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a call of `run_pipeline`.

    `worked` inputs were finished by this call; `failed` counts the failures of this call and of earlier ones. `stopped`
    means that a stop was requested before all was done: the same call resumes. `jobs` has the figures of every job, by
    name: shards, inputs, rows, failures by kind, usage. `usage` is the total of the run. `failures` lists at most 1000
    of each job and kind, with their reasons. `report` is None if the step `report` did not run.
    """

    path: Path
    stopped: bool
    worked: int
    failed: int
    jobs: Mapping[str, JobState]
    usage: Usage
    failures: Sequence[Failure]
    report: ReportData | None

    @property
    def table(self) -> Sequence[Row]:
        """The rows of the report's table: one for each model and split; empty where no report was made."""
        return self.report.rows if self.report is not None else ()

    @property
    def files(self) -> dict[str, Path]:
        """The files for readers that are there, by name: train.jsonl, val.jsonl, results.json, report.html and others."""
        folder = RunFolder(self.path)
        places = [place for place in (folder.path, folder.dataset) if place.is_dir()]
        found = [file for place in places for file in sorted(place.iterdir()) if file.is_file()]
        return {file.name: file for file in found if file.name != "run.lock" and not file.name.startswith(".")}


async def run_pipeline(
    papers: Path | str | Sequence[Path | str] = (),
    *,
    out: Path | str,
    pairs: Path | str | None = None,
    settings: Mapping[str, Any] | Config | Path | str | None = None,
    until: str | None = None,
    redo: str | None = None,
    retry: bool | str = False,
    jobs: Sequence[Job] = (),
    on_progress: Callable[[JobProgress], None] | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Run the pipeline on `papers` in the run folder `out`, or resume the run that is there.

    Parameters: more than six, since they are the flags of ``gristmill run``, by the same names:

    - `papers` are files and folders of them; none goes on with what the run has.
    - `pairs` is a file of questions and answers to evaluate instead, as ``gristmill evaluate PAIRS`` takes it.
    - `settings` are a table as in TOML, a `Config`, or the path of a TOML file. None means those that the run has.
    - `until` names the last job that runs; `redo` a job whose rows, and all that follows from them, are made again.
    - `retry` tries failed records again: True all of them, a text those that failed with this kind.
    - `jobs` are your own, added behind the jobs whose rows they read.
    - `on_progress` is called on the event loop whenever a job has done something. What it raises ends the run.
    - `stop`: ``stop.request()`` finishes and saves what is in flight. Cancelling the task ends it at once; either way
      nothing that was answered and saved is lost.

    Raises `BadInput` for settings, papers or a folder that cannot be used, before anything is written, and `Fatal` for
    what ends a run, as a key that is refused or a full disk.
    """
    folder, stop = RunFolder(Path(out)), stop or Stop()
    watch = _Watch(on_progress, stop)
    selection = Selection(until=until, redo=redo, retry=_retry(retry))
    table = await asyncio.to_thread(_table, settings)
    if pairs is not None:
        table = await asyncio.to_thread(configured, Path(pairs), folder, table)
    work = await asyncio.to_thread(
        prepare, folder, _paths(papers), table, selection=selection, own=jobs, tell=watch.tell()
    )
    async with opened(work, stop=stop, hook=watch) as session:
        outcome = await session.run()
    watch.check()
    return await asyncio.to_thread(_result, folder, jobs, outcome)


def _paths(papers: Path | str | Sequence[Path | str]) -> Sequence[Path]:
    return [Path(papers)] if isinstance(papers, (str, Path)) else [Path(path) for path in papers]


def _table(settings: Mapping[str, Any] | Config | Path | str | None) -> Mapping[str, Any] | None:
    if isinstance(settings, Config):
        return settings.model_dump(exclude_unset=True)
    return configfile.load(Path(settings)) if isinstance(settings, (str, Path)) else settings


def _retry(kind: bool | str) -> Callable[[str, FailedRecord], bool]:
    return lambda job, failure: kind is True or failure.kind == kind


def _result(folder: RunFolder, own: Sequence[Job], outcome: Outcome) -> RunResult:
    from jobs.report.collect import job_state, job_states
    from jobs.report.failure_list import failures, first_of_each, job_failures

    datasets, added = folder.datasets(), own_datasets(folder, own)
    states = [*job_states(datasets), *(job_state(job.name, added[job.writes]) for job in own)]
    failed = chain(failures(datasets), *(job_failures(job.name, added[job.writes]) for job in own))
    return RunResult(
        path=folder.path,
        stopped=outcome.stopped,
        worked=outcome.worked,
        failed=outcome.failed,
        jobs={state.job: state for state in states},
        usage=folder.paid(),
        failures=first_of_each(failed),
        report=outcome.report,
    )


def _note(event: Event) -> str:
    match event:
        case Note():
            return event.text
        case BatchChanged():
            answered = f"{event.done + event.failed} of {event.rows} requests"
            return f"batch {event.number} of {event.role} {state_word(event.state, event.status)}: {answered}"
    return ""


class _Watch:
    """A hook that calls `on_progress` with the progress of each job. Its errors stop the run and are raised at the end."""

    def __init__(self, on_progress: Callable[[JobProgress], None] | None, stop: Stop) -> None:
        self._on_progress = on_progress
        self._stop = stop
        self._counts = Counts()
        self._error: BaseException | None = None

    def __call__(self, event: Event) -> None:
        self._counts(event)
        if isinstance(event, AttemptFailed):
            return
        counts = self._counts.jobs[event.job]
        self._show(
            JobProgress(
                job=event.job,
                state=counts.state,
                done=counts.done,
                total=counts.total,
                failed=counts.failed,
                usage=counts.usage,
                note=_note(event),
            )
        )

    def tell(self) -> Callable[[str], None]:
        """Shows a line about the weights of the embedded model, from another thread."""
        loop = asyncio.get_running_loop()

        def report(line: str) -> None:
            loop.call_soon_threadsafe(self._show, JobProgress(job="weights", note=line))

        return report

    def check(self) -> None:
        """Raise what the callback has raised."""
        if self._error is not None:
            raise self._error

    def _show(self, progress: JobProgress) -> None:
        if self._on_progress is None or self._error is not None:
            return
        try:
            self._on_progress(progress)
        except Exception as error:  # noqa: BLE001 - it is the caller's own, and goes back to him
            self._error = error
            self._stop.request()
