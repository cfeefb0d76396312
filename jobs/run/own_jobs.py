"""A user's own jobs in the pipeline: each comes after the jobs whose rows it reads, and has its own dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.job import Job, Pipeline
from engine.records import Record
from jobs.run.folder import RunFolder

__all__ = ["own_datasets", "own_in", "with_own_jobs"]


def own_datasets(folder: RunFolder, own: Sequence[Job]) -> dict[str, Dataset[Any]]:
    """The datasets that the jobs in `own` write, by name. Raises `BadInput` for a name that gristmill uses itself."""
    ours = (folder.dataset, folder.tuning, folder.batches, folder.reviews)
    taken = {path.name for path in ours} | folder.datasets().keys()
    datasets: dict[str, Dataset[Any]] = {}
    for job in own:
        if job.writes in taken or job.writes in datasets:
            raise BadInput(f"the job {job.name!r} writes {job.writes!r}, a name that is taken; choose another")
        if not job.writes.isidentifier():
            raise BadInput(f"the job {job.name!r} writes {job.writes!r}; a dataset's name is letters, digits and _")
        datasets[job.writes] = Dataset(folder.path / job.writes, job.row)
    return datasets


def own_in(folder: RunFolder) -> dict[str, Dataset[Any]]:
    """The datasets of a user's own jobs that are in the run already, by the name of their job; blocks."""
    ours = folder.datasets().keys()
    paths = sorted(path.parent for path in folder.path.glob("*/job.json"))
    others = [Dataset(path, Record) for path in paths if path.name not in ours and path.suffix != ".discarded"]
    return {owner: dataset for dataset in others if (owner := dataset.owner()) is not None}


def with_own_jobs(pipeline: Pipeline, own: Sequence[Job], datasets: Mapping[str, Dataset[Any]]) -> Pipeline:
    """`pipeline` with each job of `own` after the last job that writes what it reads.

    Raises `BadInput` for a job whose name is taken, or that reads a dataset that does not exist.
    """
    steps = list(pipeline)
    for job in own:
        if any(step.name == job.name for step in steps):
            raise BadInput(f"there is already a job {job.name!r}; give yours another name")
        for name in job.reads:
            if name not in datasets:
                raise BadInput(f"the job {job.name!r} reads {name!r}; the datasets are {', '.join(datasets)}")
        writers = [place for place, step in enumerate(steps, 1) if step.writes in job.reads]
        steps.insert(max(writers, default=len(steps)), job)
    return steps
