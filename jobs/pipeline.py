"""The pipeline: the stages of a run, in order. What each is made with, and what makes its rows stale, stands in its
``stage.py``.

A fingerprint holds what changes the meaning of rows. Limits, timeouts and lengths are not in it, because they change
none.
"""

from __future__ import annotations

from engine.job import Pipeline
from jobs import registry
from jobs.curation.stage import curation
from jobs.evaluation.stage import evaluation
from jobs.generation.stage import generation, given_pairs
from jobs.parsing.stage import parsing
from jobs.report.stage import report
from jobs.retrieval.index import Retriever
from jobs.retrieval.stage import augmenting, indexing
from jobs.run.context import RunContext
from jobs.tuning.stage import tuning

__all__ = ["build"]


def build(context: RunContext) -> Pipeline:
    """Every job and step of a run, in order: of one that begins with papers, or with the pairs of a file."""
    retriever = Retriever(context.folder.store)
    if context.config.evaluate.pairs:
        return registry.check(
            [*given_pairs(context), *evaluation(context, retriever), report(context)], beginning="pairs"
        )
    return registry.check(
        [
            *parsing(context),
            *generation(context),
            *indexing(context, retriever),
            *curation(context, retriever),
            *augmenting(context, retriever),
            *tuning(context),
            *evaluation(context, retriever),
            report(context),
        ],
        beginning="papers",
    )
