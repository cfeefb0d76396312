"""Which jobs of a run workers work on, and how the workers of a run are started. A run without workers imports none of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from engine.budget import Budget
from engine.events import Hook
from engine.job import Job, Pipeline
from engine.processes import usable_cores
from engine.requests import Usage
from engine.signals import Stop
from engine.workers import Workers
from jobs.cluster.setup import Setup
from jobs.config import Config
from jobs.opening import parser_settings
from jobs.registry import Declaration, declared
from jobs.review.log import ReviewLog
from jobs.run.traffic import Traffic
from jobs.work import Work

if TYPE_CHECKING:
    from engine.cluster.head import Cluster
    from engine.cluster.leaseholder import Leaseholder
    from engine.cluster.messages import Report
    from engine.cluster.place import Places

__all__ = ["Heard", "begun", "shared", "spread_jobs"]

_CHILD = "jobs.cluster.child:main"

_HEAD_START_S = 3.0
"""What the head of a new run has for its first papers: a few take less, and one may take minutes."""


class Heard:
    """Takes in what workers report of their requests, once `traffic` is there. Since they parse too, the parsing processes
    of the head, `parsers`, end as soon as they have nothing to do."""

    def __init__(self) -> None:
        self.traffic: Traffic | None = None
        self.parsers: Workers | None = None

    def __call__(self, worker: str, report: Report | None) -> None:
        if self.traffic is not None:
            self.traffic.hear(worker, report.in_flight if report is not None else {})
        if self.parsers is not None:
            self.parsers.rest()


def begun(work: Work, *, stop: Stop, hook: Hook, heard: Heard) -> Cluster | None:
    """The workers of a run, to be entered; None where one process does all, and where no step is asked for that workers do."""
    count = work.config.cluster.workers
    steps = {job.name for job in declared("pairs" if work.config.evaluate.pairs else "papers").values() if job.writes}
    if not count or steps.isdisjoint(work.selection.steps()):
        return None
    from engine.cluster.head import Cluster

    head_start_s = 0.0 if work.folder.exists else _HEAD_START_S
    return Cluster(_places(work, count), count, stop=stop, hook=hook, heard=heard, head_start_s=head_start_s)


def _places(work: Work, count: int) -> Places:
    config, cluster = work.config, work.config.cluster
    here = cluster.engine == "processes" or not cluster.address
    share = max(1, usable_cores() // count) if here else 0  # elsewhere a worker takes the cores that it finds
    setup = Setup(
        folder=str(work.folder.path.absolute()),
        config=config.model_dump_json(),
        embedded=work.weights.weights.name if work.weights else "local",
        parsers=parser_settings(config, config.parse.workers or share),
        begins=bool(work.papers) and not work.folder.exists,
        reviewed=not config.evaluate.pairs and bool(ReviewLog(work.folder.reviews).shards()),
        share=1 / count,
    )
    if cluster.engine == "ray":
        from engine.cluster.on_ray import Ray

        keys = {model.api_key_env for model in config.models.sections().values()} & os.environ.keys()
        return Ray(
            _CHILD,
            lambda name: setup.encoded(),
            {name: os.environ[name] for name in keys},
            address=cluster.address or None,
            temp_folder=cluster.ray_folder or None,
        )
    from engine.cluster.subprocesses import Processes

    return Processes(_CHILD, lambda name: setup.encoded())


def shared(cluster: Cluster, work: Work, spent: Usage | None) -> tuple[Budget, Leaseholder]:
    """The part that the process of the run has of what it shares with its workers; to be called in a running loop.

    `spent` is what earlier processes have paid, None without a budget.
    """
    from engine.cluster.leaseholder import Leaseholder
    from engine.cluster.leases import Leases

    caps, count = work.config.budget, work.config.cluster.workers
    now = asyncio.get_running_loop().time()
    leases = Leases(
        workers=count + 1, now=now, restarted=work.folder.exists, usd=caps.usd, tokens=caps.tokens, spent=spent
    )
    budget = Budget(usd=caps.usd, tokens=caps.tokens)
    holder = Leaseholder(None if spent is None else budget, starved=cluster.starve)
    cluster.share(leases, holder)
    return budget, holder


def spread_jobs(config: Config, pipeline: Pipeline, batched: Collection[str]) -> frozenset[str]:
    """The names of the jobs whose shards workers work on.

    The others stay where the run was started: those that keep more in memory than they ship, a user's own, those that ask
    a model on this machine, which one server answers, and those that ask one in batches. `batched` are the roles of
    batches that are still at a provider.
    """
    known = declared("pairs" if config.evaluate.pairs else "papers")
    jobs = (step for step in pipeline if isinstance(step, Job) and not step.head and step.name in known)
    return frozenset(job.name for job in jobs if _is_spread(config, known[job.name], batched))


def _is_spread(config: Config, job: Declaration, batched: Collection[str]) -> bool:
    if job.role is None:
        return True
    sections = [job.role]
    if job.role == "base":
        sections += ["tuned", *(name for name in config.models.sections() if name.startswith("candidates."))]
    models = [config.model("base" if section == "tuned" else section) for section in sections]
    if any(model.batch for model in models) or set(batched) & set(sections):
        return False
    return job.role == "embedding" or not any(model.local for model in models)
