"""The one place that declares a job: its name, its dataset, its rows, the role that it calls, and the module that
builds it.

The table is in the order of a run. Everything else reads it: the pipeline, the run's folder, its budget, status and
report, the command line, and the check of what a job may wait for. A run begins with papers, or with the pairs of a
file (`evaluate PAIRS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from engine.job import Job, Pipeline
from engine.records import Record
from jobs import records as rows

__all__ = ["JOBS", "REVIEWS", "ROLES", "ROWS", "Beginning", "Declaration", "check", "declared", "redoable", "stoppable"]

ROLES = ("generator", "base", "judge", "embedding")
"""The roles for which a model is configured."""

Beginning = Literal["papers", "pairs"]
_BOTH: tuple[Beginning, ...] = ("papers", "pairs")


class Declaration(msgspec.Struct, frozen=True):
    """One job or step: its name, and the module below `jobs` whose function ``build_NAME`` makes it of a `RunContext`.

    ``writes`` names the dataset of its rows, of type ``row``; a step that writes none has neither. ``role`` is the role
    that it calls, None where it asks no model. ``optional`` says that a configuration can leave it out: then its
    builder returns None. ``runs`` are the kinds of run that it stands in, by what they begin with.
    """

    name: str
    module: str
    writes: str | None = None
    row: type[Record] | None = None
    role: str | None = None
    optional: bool = False
    runs: tuple[Beginning, ...] = ("papers",)


JOBS: tuple[Declaration, ...] = (
    Declaration("deal", "parsing.stage", "papers", rows.Paper),
    Declaration("parse", "parsing.stage", "chunks", rows.Chunk),
    Declaration("ask", "generation.stage", "questions", rows.Question, "generator"),
    Declaration("answer", "generation.stage", "pairs", rows.Pair, "generator"),
    Declaration("deal", "generation.stage", "pairs", rows.Pair, runs=("pairs",)),
    Declaration("index", "retrieval.stage", "index", rows.Vector, "embedding"),
    Declaration("probe", "curation.stage", "probes", rows.Probe, "embedding", optional=True),
    Declaration("critique", "curation.stage", "critiques", rows.Critique, "judge", optional=True),
    Declaration("curate", "curation.stage", "curated", rows.Curated, optional=True),
    Declaration("augment", "retrieval.stage", "examples", rows.Example, "embedding"),
    Declaration("export", "tuning.stage"),
    Declaration("finetune", "tuning.stage"),
    Declaration("respond", "evaluation.stage", "responses", rows.Response, "base", runs=_BOTH),
    Declaration("similarity", "evaluation.stage", "similarities", rows.Similarity, "embedding", runs=_BOTH),
    Declaration("judge", "evaluation.stage", "verdicts", rows.Verdict, "judge", runs=_BOTH),
    Declaration("assess", "evaluation.stage", "assessments", rows.Assessment, "judge", optional=True, runs=_BOTH),
    Declaration("rejudge", "evaluation.stage", "rejudgements", rows.Rejudgement, "judge", optional=True, runs=_BOTH),
    Declaration("prefer", "evaluation.stage", "preferences", rows.Preference, "judge", optional=True, runs=_BOTH),
    Declaration("report", "report.stage", runs=_BOTH),
)

ROWS: Mapping[str, type[Record]] = MappingProxyType({job.writes: job.row for job in JOBS if job.writes and job.row})
"""Every dataset with the type of its rows, in the order in which they are made."""

REVIEWS = "reviews"
"""The dataset of `jobs.records.Review`: what people decide about pairs. No job writes it, and it has no seals."""


def declared(beginning: Beginning) -> dict[str, Declaration]:
    """The jobs and steps of a run that begins with papers or with pairs, by name, in order."""
    return {job.name: job for job in JOBS if beginning in job.runs}


def stoppable() -> tuple[str, ...]:
    """The jobs and steps after which a run of papers can stop (``--until``), in order."""
    return tuple(name for name in declared("papers") if name != "deal")


def redoable() -> tuple[str, ...]:
    """The jobs that can be repeated (``--redo``), in order."""
    return tuple(job.name for job in declared("papers").values() if job.writes and job.name != "deal")


def check(pipeline: Pipeline, beginning: Beginning) -> Pipeline:
    """`pipeline`, unchanged; raises `ValueError` if it does not agree with the declarations.

    Each job has its declared name, dataset and row type, is in the declared order, and waits only for declared names.
    """
    known = declared(beginning)
    order = list(known)
    names = [step.name for step in pipeline]
    if undeclared := [name for name in names if name not in known]:
        raise ValueError(f"jobs/registry.py does not declare {', '.join(undeclared)}")
    if missing := [job.name for job in known.values() if not job.optional and job.name not in names]:
        raise ValueError(f"the pipeline lacks {', '.join(missing)}, which jobs/registry.py declares")
    if names != sorted(names, key=order.index):
        raise ValueError(f"the pipeline's order is not that of jobs/registry.py: {', '.join(names)}")
    everything = {job.name for job in JOBS}
    for step in pipeline:
        job = known[step.name]
        if step.writes != job.writes or (isinstance(step, Job) and step.row is not job.row):
            raise ValueError(f"{step.name} does not write {job.writes}, as jobs/registry.py declares")
        if unknown := set(step.waits_for) - everything:
            raise ValueError(f"{step.name} waits for {', '.join(sorted(unknown))}, which no job is called")
    return pipeline
