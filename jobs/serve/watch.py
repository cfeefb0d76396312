"""Watching a run from its folder: each look gives how it stands, and what is new since the last look."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.shards import total
from jobs.report.collect import JobState
from jobs.report.failure_list import jobs_made
from jobs.report.remaining import Expected, Pace, expected, seconds_left
from jobs.run.batches import BatchFolder, BatchView
from jobs.run.folder import RunFolder
from jobs.serve.committed import Committed
from jobs.serve.heard import Heard
from jobs.serve.journals import Journals
from jobs.serve.live import Live
from jobs.serve.log_tail import LogTail, Said
from jobs.serve.rates import Rates
from jobs.serve.run_now import Happening, JobNow, Point, RunNow

__all__ = ["Look", "Watch"]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands, and the points of its plot and what happened since the last look."""

    now: RunNow
    points: list[Point]
    happened: list[Happening]


class Watch:
    """The run in `folder`; `live` where it is this process that works on it. Only one thread may `look` at a time."""

    def __init__(self, folder: RunFolder, committed: Mapping[str, Committed], live: Live | None) -> None:
        self._folder = folder
        self._committed = committed
        self._live = live
        self._journals = {name: Journals(each.dataset) for name, each in committed.items()}
        self._budget = folder.config().budget if folder.exists else None
        self._log = LogTail(folder.log)
        self._heard = Heard()
        self._rates = Rates()
        self._batches = BatchFolder(folder.batches)

    def look(self) -> Look:
        """How the run stands now; blocks."""
        now, said = time.time(), self._log.further()
        happened = list(self._heard.hear(said))
        working = self._live.working if self._live else self._folder.worker() is not None
        states = dict(self._states())
        done = {job: state.inputs for job, state in states.items()}
        points = [point for point in self._rates.look(now, done, said) if working or point.rates]
        totals = self._totals(states)
        paces = {job: pace for job in states if (pace := self._heard.pace(job, done[job], now)) is not None}
        batches = self._batches.live()
        jobs = [
            _in_batches(self._job(state, totals[job][1], paces.get(job), now, working), batches)
            for job, state in states.items()
        ]
        if self._heard.training is not None:
            jobs.append(_training(self._heard.training, working=working, ended=self._heard.ended("finetune")))
        spent = [state.usage for state in states.values()]
        paid = total([*spent, self._folder.preflight_usage(), self._folder.discarded_usage()])
        finished = bool(jobs) and all(job.state == "done" for job in jobs)
        return Look(
            now=RunNow(
                at=now,
                state="works" if working else "done" if finished else "stopped",
                jobs=jobs,
                left_s=seconds_left(totals, paces) if working and not batches else None,
                usd=paid.cost_usd,
                usd_budget=self._budget.usd if self._budget else None,
                tokens=paid.prompt_tokens + paid.completion_tokens,
                tokens_budget=self._budget.tokens if self._budget else None,
                in_flight=self._live.in_flight if self._live else None,
            ),
            points=points,
            happened=happened,
        )

    def _datasets(self) -> dict[str, Dataset[Any]]:
        """What each job writes; one that may be left out is there once it has a folder."""
        made = jobs_made({name: each.dataset for name, each in self._committed.items()})
        return {job.name: each for job, each in made.items() if not job.optional or each.folder.exists()}

    def _states(self) -> Iterator[tuple[str, JobState]]:
        for job, dataset in self._datasets().items():
            committed = self._committed[dataset.name]
            whole, opened = committed.whole(), committed.open()
            tally = self._journals[dataset.name].tally(opened)
            yield (
                job,
                JobState(
                    job=job,
                    sealed=len(committed.sums()),
                    open=len(opened),
                    inputs=whole.inputs + tally.inputs,
                    rows=whole.rows + tally.rows,
                    failures=dict((Counter(whole.failed) + tally.failed).most_common()),
                    usage=total([whole.usage, tally.usage]),
                ),
            )

    def _totals(self, states: Mapping[str, JobState]) -> dict[str, tuple[JobState, Expected]]:
        figures = {
            name: {index: (sums.inputs, sums.rows) for index, sums in each.sums().items()}
            for name, each in self._committed.items()
            if each.dataset.folder.exists()
        }
        datasets = self._datasets()
        found = expected(states.values(), figures, {job: dataset.name for job, dataset in datasets.items()})
        return {job: (state, found[job]) for job, state in states.items()}

    def _job(self, state: JobState, whole: Expected, pace: Pace | None, now: float, working: bool) -> JobNow:
        rate = self._rates.now(state.job) if working else 0.0
        left = None
        if working and whole.total is not None and rate:
            left = (whole.total - state.inputs) / rate
        elif working and pace is not None:
            left = seconds_left({state.job: (state, whole)}, {state.job: pace})
        return JobNow(
            job=state.job,
            state=self._word(state, whole, working),
            done=state.inputs,
            total=whole.total,
            exact=whole.exact,
            per_second=rate,
            left_s=left,
            in_flight=self._live.of_job(state.job) if self._live else None,
            waits_for=self._heard.pause(state.job, now) if working else "",
            failed=state.failures,
            rows=state.rows,
            requests=state.usage.requests,
            tokens=state.usage.prompt_tokens + state.usage.completion_tokens,
            usd=state.usage.cost_usd,
        )

    def _word(self, state: JobState, whole: Expected, working: bool) -> str:
        if self._heard.ended(state.job):
            return "done"
        if working:
            return "works" if self._heard.begun(state.job) and (state.open or state.inputs) else "waits"
        if whole.exact and state.sealed:
            return "done"
        return "stopped" if state.inputs else "waits"


def _in_batches(job: JobNow, batches: Sequence[BatchView]) -> JobNow:
    """`job` with the batches that it waits for; their rows come all at once, so no rate tells the time left."""
    mine = [batch for batch in batches if job.job in batch.jobs]
    if not mine:
        return job
    count = "1 batch" if len(mine) == 1 else f"{len(mine):,} batches"
    answered = f"{sum(batch.done + batch.failed for batch in mine):,} of {sum(batch.rows for batch in mine):,} rows"
    waits = job.waits_for or f"{count} at the provider, {answered}"
    return msgspec.structs.replace(job, left_s=None, waits_for=waits)


def _training(step: Said, *, working: bool, ended: bool) -> JobNow:
    """A fine-tuning on this machine: its steps are its inputs."""
    return JobNow(
        job=step.job,
        state="done" if ended else "works" if working else "stopped",
        done=step.step,
        total=step.steps,
        exact=True,
        per_second=0.0,
        left_s=step.left_s if working and not ended else None,
        in_flight=None,
        waits_for=f"loss {step.train:.3f}",
        failed={},
        rows=0,
        requests=0,
        tokens=0,
        usd=0.0,
    )
