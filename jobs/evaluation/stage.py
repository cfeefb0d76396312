"""The stage in which models answer and are scored, as a run is configured."""

from __future__ import annotations

from dataclasses import replace

from engine.job import Pipeline
from jobs.config import Model
from jobs.curation.curate import kept_pairs
from jobs.evaluation import judge as judging
from jobs.evaluation.assess import Assessor
from jobs.evaluation.pairwise import prefer
from jobs.evaluation.rejudge import rejudge
from jobs.evaluation.respond import Compared, Responder
from jobs.evaluation.sample import Sample
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.retrieval.index import Retriever
from jobs.run.context import RunContext
from jobs.run.model_names import EMBEDDED_EMBEDDING, model_name

__all__ = ["compared", "evaluation"]


def compared(context: RunContext) -> dict[str, Compared]:
    """The models of the table by the names of their rows: base, tuned when there is one, then the candidates."""
    models, tuned = context.config.models, context.tuned()
    base = Compared(model=context.name(models.base), to="base", max_tokens=models.base.max_tokens)
    rows = {"base": base, **({"tuned": replace(base, model=tuned, to="tuned")} if tuned else {})}
    for name, model in models.candidates.items():
        rows[name] = Compared(model=_label(context, model), to=f"candidates.{name}", max_tokens=model.max_tokens)
    return rows


def _label(context: RunContext, candidate: Model) -> str:
    """A candidate's name, with its temperature where that is not the base's."""
    same = candidate.temperature == context.config.models.base.temperature
    return context.name(candidate) + ("" if same else f", temperature {candidate.temperature}")


def evaluation(context: RunContext, retriever: Retriever) -> Pipeline:
    """The answers of every model, and everything that is said of them."""
    config, models = context.config, context.config.models
    system_prompt = config.export.system_prompt
    return [
        Responder(
            sample=Sample(kept_pairs(context.datasets, config), config.evaluate.sample, config.seed),
            retriever=retriever,
            models=lambda: compared(context),
            system_prompt=lambda title: system_prompt.replace("{title}", title),
            settings=config.evaluate,
        ).job(
            fingerprint={**RELEASE, "temperature": models.base.temperature, "system_prompt": system_prompt},
            slots=sum(map(slots, (models.base, *models.candidates.values()))),
        ),
        judging.similarity(
            fingerprint={"embedding": model_name(models.embedding, EMBEDDED_EMBEDDING)}, slots=slots(models.embedding)
        ),
        *_judging(context, retriever),
    ]


def _judging(context: RunContext, retriever: Retriever) -> Pipeline:
    """What the judge says of each answer, and where it is asked for, once more and of two side by side."""
    settings, model, seed = context.config.evaluate, context.config.models.judge, context.config.seed
    pairs = kept_pairs(context.datasets, context.config)
    method = judging.by_agreement if settings.method == "agreement" else judging.by_score
    asked = {**RELEASE, "judge": context.name(model), "temperature": model.temperature}
    judged = {**asked, "method": settings.method}
    assessed = Assessor(
        metrics=settings.metrics,
        written=context.datasets["assessments"],
        retriever=retriever,
        max_tokens=model.max_tokens,
        # Each metric has rows of its own, so which they are changes the meaning of none.
    ).job(fingerprint=asked, slots=slots(model))
    again = rejudge(
        method=method, pairs=pairs, sample=settings.rejudge, seed=seed, fingerprint=judged, slots=slots(model)
    )
    beside = prefer(
        pairs=pairs,
        sample=settings.pairwise,
        seed=seed,
        max_tokens=model.max_tokens,
        fingerprint=asked,
        slots=slots(model),
    )
    return [
        judging.judge(method=method, fingerprint=judged, slots=slots(model)),
        *([assessed] if settings.metrics else []),
        *([again] if settings.rejudge else []),
        *([beside] if settings.pairwise else []),
    ]
