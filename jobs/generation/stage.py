"""The stage from chunks to pairs, as a run is configured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.job import Pipeline
from jobs.config import Config
from jobs.generation import ask as asking
from jobs.generation.answer import answer
from jobs.generation.deal_pairs import deal_pairs
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.parsing.split import side
from jobs.run.context import RunContext

__all__ = ["generation", "given_pairs"]


def generation(context: RunContext) -> Pipeline:
    """A question about each chunk, and an answer to each question."""
    settings, model = context.config.ask, context.config.models.generator
    evidence = settings.recipe == "evidence"
    fingerprint = {
        **RELEASE,
        "model": context.name(model),
        "temperature": model.temperature,
        "recipe": settings.recipe,
    }
    return [
        asking.ask(
            recipe=asking.evidence(context.hook) if evidence else asking.llama_index(model.max_tokens),
            quota=asking.Quota(
                context.datasets["chunks"], per_chunk=settings.questions_per_chunk, cap=settings.max_questions
            ),
            side_of_question=_side_of_question(context.config),
            fingerprint={
                **fingerprint,
                "questions_per_chunk": settings.questions_per_chunk,
                "max_questions": settings.max_questions,
            },
            slots=slots(model),
        ),
        answer(
            max_tokens=model.max_tokens,
            quotes=context.config.answer.quotes,
            fingerprint={**fingerprint, **context.config.answer.model_dump()},
            slots=slots(model),
        ),
    ]


def given_pairs(context: RunContext) -> Pipeline:
    """The pairs of the file that a run begins with instead of papers."""
    settings = context.config.evaluate
    return [
        deal_pairs(Path(settings.pairs), context.datasets, sample=settings.sample, stop=context.stop, hook=context.hook)
    ]


def _side_of_question(config: Config) -> Callable[[str], str] | None:
    if config.split.by != "question":
        return None
    return lambda id_: side(seed=config.seed, key=id_, train=config.split.train)
