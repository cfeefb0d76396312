"""The stage that decides which pairs are kept, as a run is configured."""

from __future__ import annotations

from engine.job import Job, Pipeline, Step
from jobs.curation.critique import critique
from jobs.curation.curate import Curator
from jobs.curation.probe import probe
from jobs.curation.rules import RULES_VERSION
from jobs.models.roles import slots
from jobs.retrieval.index import Retriever
from jobs.retrieval.stage import embedding_fingerprint, embedding_slots
from jobs.run.context import RunContext

__all__ = ["curation"]


def curation(context: RunContext, retriever: Retriever) -> Pipeline:
    """The checks that are switched on: those that cost something as jobs of their own, then `curate`."""
    settings, judge, model = context.config.curate, context.config.models.judge, context.config.models.embedding
    rules = {"rules": RULES_VERSION, **settings.model_dump(include=_RULES)} if settings.rules else {}
    retrieval = {"round_trip": settings.round_trip_top_k, "scope": context.config.augment.scope}
    probing = {**rules, **embedding_fingerprint(model), **(retrieval if settings.round_trip is True else {})}
    critic = {"judge": context.name(judge), "temperature": judge.temperature}
    jobs: list[Job | Step] = []
    if settings.embeds:
        scope = context.config.augment.scope
        jobs.append(
            probe(
                retriever=retriever, settings=settings, scope=scope, fingerprint=probing, slots=embedding_slots(model)
            )
        )
    if settings.critic:
        jobs.append(
            critique(
                settings=settings,
                max_tokens=judge.max_tokens,
                fingerprint={**(probing if settings.embeds else rules), **critic},
                slots=slots(judge),
            )
        )
    if settings.on:
        jobs.append(
            Curator(
                settings=settings,
                datasets=context.datasets,
                hook=context.hook,
            ).job(
                fingerprint={**settings.model_dump(), **({"rules": RULES_VERSION} if settings.rules else {})},
            )
        )
    return jobs


_RULES = {"shortest_question", "longest_question", "shortest_answer", "longest_answer"}
