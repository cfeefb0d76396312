"""The stage from chunks to pairs, as a run is configured: each function builds one job of `jobs.registry`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.job import Job, Step
from jobs.config import Config
from jobs.config.generation import Ask
from jobs.generation import ask as asking
from jobs.generation.answer import answer
from jobs.generation.copied import Copied
from jobs.generation.deal_pairs import deal_pairs
from jobs.generation.grounded import Form
from jobs.generation.manner import Manner
from jobs.generation.question_types import Types
from jobs.generation.quota import Quota
from jobs.generation.stated import Stated
from jobs.generation.worth_asking import worth_asking
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.parsing.split import side
from jobs.run.context import RunContext

__all__ = ["build_answer", "build_ask", "build_deal", "grounded_form"]


def build_deal(context: RunContext) -> Step:
    """The step that deals the pairs of a file, for a run that begins with pairs instead of papers."""
    settings = context.config.evaluate
    return deal_pairs(
        Path(settings.pairs), context.datasets, sample=settings.sample, stop=context.stop, hook=context.hook
    )


def build_ask(context: RunContext) -> Job:
    """The job that asks questions about each chunk."""
    settings, model = context.config.ask, context.config.models.generator
    return asking.ask(
        recipe=_recipe(context),
        quota=Quota(
            context.datasets["chunks"],
            context.datasets["questions"],
            per_chunk=settings.questions_per_chunk,
            cap=settings.max_questions,
            worth=worth_asking(settings),
            typed=Types(shares=settings.types, seed=context.config.seed).typed(grounded_form(context.config).can_ask),
        ),
        side_of_question=_side_of_question(context.config),
        fingerprint={
            **_fingerprint(context),
            "questions_per_chunk": settings.questions_per_chunk,
            "max_questions": settings.max_questions,
            **_chosen(settings, "skip_sections", "numbers", "types", "name_paper"),
            **({"seed": context.config.seed} if settings.types else {}),
            **context.config.prompts.mark("ask"),
        },
        slots=slots(model),
        hook=context.hook,
    )


def grounded_form(config: Config) -> Form:
    """The recipe "grounded" as `config` has it."""
    own, manner = config.prompts.text("ask"), _manner(config)
    if config.states_evidence:
        return Stated(own=own, manner=manner, name_paper=config.ask.name_paper)
    return Copied(max_tokens=config.models.generator.max_tokens, own=own, manner=manner)


def _manner(config: Config) -> Manner:
    return Manner(language=config.ask.language, audience=config.ask.audience)


def _recipe(context: RunContext) -> asking.Recipe:
    model = context.config.models.generator
    if not context.config.ask.drafts:
        return asking.llama_index(model.max_tokens, context.config.prompts.text("ask"), _manner(context.config))
    return asking.grounded(grounded_form(context.config), context.hook)


def _chosen(settings: Ask, *keys: str) -> dict[str, Any]:
    """Those of the settings that are not at their default, so that runs made before they existed can resume."""
    chosen = {key: getattr(settings, key) for key in keys}
    return {key: value for key, value in chosen.items() if value != Ask.model_fields[key].default}


def build_answer(context: RunContext) -> Job:
    """The job that answers each question."""
    settings, model = context.config.answer, context.config.models.generator
    return answer(
        max_tokens=model.max_tokens,
        quotes=settings.quotes,
        own=context.config.prompts.text("answer"),
        manner=_manner(context.config),
        fingerprint={**_fingerprint(context), **settings.model_dump(), **context.config.prompts.mark("answer")},
        slots=slots(model),
    )


def _fingerprint(context: RunContext) -> dict[str, Any]:
    """The settings of the generator that belong into fingerprints."""
    model = context.config.models.generator
    return {
        **RELEASE,
        "model": context.name(model),
        "temperature": model.temperature,
        "recipe": "stated" if context.config.states_evidence else context.config.ask.recipe,
        **model.meaning(),
        **_chosen(context.config.ask, "language", "audience"),
    }


def _side_of_question(config: Config) -> Callable[[str], str] | None:
    if config.split.by != "question":
        return None
    return lambda id_: side(seed=config.seed, key=id_, train=config.split.train)
