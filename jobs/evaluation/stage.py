"""The stage in which models answer and are scored, as a run is configured: each function builds one job of
`jobs.registry`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial
from typing import Any

from engine.job import Job
from jobs.config import Config, Model
from jobs.curation.curate import kept_pairs
from jobs.evaluation import judge as judging
from jobs.evaluation.asked import Compared, Shows
from jobs.evaluation.assess import Assessor, check_metrics
from jobs.evaluation.pairwise import prefer
from jobs.evaluation.rejudge import rejudge
from jobs.evaluation.respond import Responder
from jobs.evaluation.sample import Sample
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.registry import REVIEWS
from jobs.retrieval.stage import embedding_fingerprint
from jobs.run.context import RunContext

__all__ = [
    "build_assess",
    "build_judge",
    "build_prefer",
    "build_rejudge",
    "build_respond",
    "build_similarity",
    "compared",
    "judge_method",
    "shows_in",
]


def compared(context: RunContext) -> dict[str, Compared]:
    """The models of the table by the names of their rows: base, tuned when there is one, then the candidates."""
    models, tuned = context.config.models, context.tuned()
    base = Compared(model=context.name(models.base), to="base", max_tokens=models.base.max_tokens)
    rows = {"base": base, **({"tuned": replace(base, model=tuned, to="tuned")} if tuned else {})}
    for name, model in models.candidates.items():
        rows[name] = Compared(model=_label(context, model), to=f"candidates.{name}", max_tokens=model.max_tokens)
    return rows


def shows_in(context: RunContext) -> Shows:
    """Whether a response is one that this run asks for now; to be called once the sample is drawn."""
    models = cache(lambda: compared(context))
    return lambda response: context.asked.shows(response, models())


def _label(context: RunContext, candidate: Model) -> str:
    """A candidate's name, with its temperature where that is not the base's, and all else that its answers depend on."""
    same = candidate.temperature == context.config.models.base.temperature
    further = [f"{name} {json.dumps(value, sort_keys=True)}" for name, value in candidate.meaning().items()]
    return ", ".join([context.name(candidate), *([] if same else [f"temperature {candidate.temperature}"]), *further])


def build_respond(context: RunContext) -> Job:
    """The job in which every model answers."""
    config, models = context.config, context.config.models
    system_prompt = config.export.system_prompt
    responder = Responder(
        asked=context.asked,
        retriever=context.retriever,
        models=lambda: compared(context),
        system_prompt=lambda title: system_prompt.replace("{title}", title),
        settings=config.evaluate,
        reviewed=REVIEWS in context.datasets,
    )
    return responder.job(
        fingerprint={
            **RELEASE,
            "temperature": models.base.temperature,
            "system_prompt": system_prompt,
            **models.base.meaning(),
        },
        slots=sum(map(slots, (models.base, *models.candidates.values()))),
    )


def build_similarity(context: RunContext) -> Job:
    """The job that measures how near each answer is to its reference."""
    model = context.config.models.embedding
    job = judging.similarity(shows=shows_in(context), fingerprint=embedding_fingerprint(model), slots=slots(model))
    return _knowing_asked(job, context)


def build_judge(context: RunContext) -> Job:
    """The job in which the judge scores each answer."""
    job = judging.judge(
        method=judge_method(context.config),
        shows=shows_in(context),
        fingerprint=_judged(context),
        slots=slots(context.config.models.judge),
    )
    return _knowing_asked(job, context)


def build_assess(context: RunContext) -> Job | None:
    """The job of the further metrics; None without any. Each has its own rows, so changing them makes no row stale."""
    settings, model = context.config.evaluate, context.config.models.judge
    if not settings.metrics:
        return None
    check_metrics(settings.metrics)
    assessor = Assessor(
        metrics=settings.metrics,
        shows=shows_in(context),
        written=context.datasets["assessments"],
        retriever=context.retriever,
        max_tokens=model.max_tokens,
    )
    return _knowing_asked(assessor.job(fingerprint=_asked(context), slots=slots(model)), context)


def build_rejudge(context: RunContext) -> Job | None:
    """The job in which the judge scores some answers a second time; None if it is off."""
    config = context.config
    if not config.evaluate.rejudge:
        return None
    job = rejudge(
        method=judge_method(context.config),
        chosen=Sample(kept_pairs(context.datasets, config), config.evaluate.rejudge, config.seed),
        shows=shows_in(context),
        fingerprint=_judged(context),
        slots=slots(config.models.judge),
    )
    return _knowing_asked(job, context)


def build_prefer(context: RunContext) -> Job | None:
    """The job in which the judge compares answers in both orders; None if it is off."""
    config, model = context.config, context.config.models.judge
    if not config.evaluate.pairwise:
        return None
    job = prefer(
        chosen=Sample(kept_pairs(context.datasets, config), config.evaluate.pairwise, config.seed),
        shows=shows_in(context),
        max_tokens=model.max_tokens,
        fingerprint=_asked(context),
        slots=slots(model),
    )
    return _knowing_asked(job, context)


def _knowing_asked(job: Job, context: RunContext) -> Job:
    """`job`, which uses what `respond` has drawn, for processes too in which nothing was drawn."""
    asked = context.asked.prepared
    return replace(job, prepared=asked if job.prepared is None else asked + job.prepared)


def judge_method(config: Config) -> judging.Method:
    """How the judge of `config` scores a response, by our prompt or the user's own."""
    method = judging.by_agreement if config.evaluate.method == "agreement" else judging.by_score
    return partial(method, own=config.prompts.text("judge"))


def _asked(context: RunContext) -> dict[str, Any]:
    """The settings of the judge that belong into fingerprints."""
    model = context.config.models.judge
    return {**RELEASE, "judge": context.name(model), "temperature": model.temperature, **model.meaning()}


def _judged(context: RunContext) -> dict[str, Any]:
    return {**_asked(context), "method": context.config.evaluate.method, **context.config.prompts.mark("judge")}
