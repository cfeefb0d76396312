"""The stage that decides which pairs are kept, as a run is configured: each function builds one job of `jobs.registry`.

A check that is switched off has no job.
"""

from __future__ import annotations

from typing import Any

from engine.job import Job
from jobs.curation.critique import critique
from jobs.curation.curate import Curator
from jobs.curation.probe import probe
from jobs.curation.rules import RULES_VERSION
from jobs.generation.quota import is_raised
from jobs.models.roles import slots
from jobs.retrieval.stage import embedding_fingerprint, embedding_slots
from jobs.run.context import RunContext

__all__ = ["build_critique", "build_curate", "build_probe"]

_RULES = {"shortest_question", "longest_question", "shortest_answer", "longest_answer"}


def build_probe(context: RunContext) -> Job | None:
    """The job that embeds each question and searches its chunk; None if no check needs it."""
    settings, model = context.config.curate, context.config.models.embedding
    if not settings.embeds:
        return None
    return probe(
        retriever=context.retriever,
        settings=settings,
        scope=context.config.augment.scope,
        fingerprint=_probe_fingerprint(context),
        slots=embedding_slots(model),
    )


def build_critique(context: RunContext) -> Job | None:
    """The job in which the judge rates each pair; None if it is off."""
    settings, judge = context.config.curate, context.config.models.judge
    if not settings.critic:
        return None
    before = _probe_fingerprint(context) if settings.embeds else _rules_fingerprint(context)
    return critique(
        settings=settings,
        max_tokens=judge.max_tokens,
        own=context.config.prompts.text("critic"),
        fingerprint={
            **before,
            "judge": context.name(judge),
            "temperature": judge.temperature,
            **judge.meaning(),
            **context.config.prompts.mark("critic"),
        },
        slots=slots(judge),
    )


def build_curate(context: RunContext) -> Job | None:
    """The job that decides which pairs are kept; None if nothing is curated."""
    settings = context.config.curate
    if not settings.on:
        return None
    raised = is_raised(context.datasets["questions"], context.config.ask)
    curator = Curator(settings=settings, datasets=context.datasets, hook=context.hook, raised=raised)
    version = {"rules": RULES_VERSION} if settings.rules else {}
    return curator.job(fingerprint={**settings.model_dump(), **version})


def _rules_fingerprint(context: RunContext) -> dict[str, Any]:
    settings = context.config.curate
    return {"rules": RULES_VERSION, **settings.model_dump(include=_RULES)} if settings.rules else {}


def _probe_fingerprint(context: RunContext) -> dict[str, Any]:
    settings, model = context.config.curate, context.config.models.embedding
    retrieval = {"round_trip": settings.round_trip_top_k, "scope": context.config.augment.scope}
    return {
        **_rules_fingerprint(context),
        **embedding_fingerprint(model),
        **(retrieval if settings.round_trip is True else {}),
    }
