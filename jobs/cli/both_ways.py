"""What a run costs and takes in both ways: request by request, and in batches. For `--dry-run`.

Most batches end within minutes, nine of ten within an hour, and a provider may take the whole window. Jobs that follow
each other wait for each other's batches, so the time is counted in turns: one for each stage of the run, or more where
the provider lets fewer tokens wait than a job has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from engine.requests import Usage
from jobs.cli.durations import duration
from jobs.cli.estimate import Corpus, asked_sections, estimate_of, together_s
from jobs.config import Config, Model
from jobs.models.providers import has_batches
from jobs.models.roles import used

__all__ = ["STAGES", "both_ways", "turns"]

STAGES = (
    ("ask", "index"),
    ("answer",),
    ("probe", "critique", "augment"),
    ("respond",),
    ("similarity", "judge", "assess", "rejudge", "prefer"),
)
"""The jobs that ask models; those of one stage do not wait for each other's answers, but for those of the stage before."""

_QUICK_S, _SLOW_S = 7 * 60, 60 * 60
"""Half of all batches end within the first, and nine of ten within the second, by what was measured at OpenRouter."""


def both_ways(config: Config, corpus: Corpus) -> Iterator[str]:
    """Two lines, one a way, with dollars where all prices are known; none where no model can be asked in batches."""
    models = used(config).values()
    able = [model for model in models if _can(model)]
    if not able:
        return
    known = all(model.priced for model in models)
    alone, together = _with_batches(config, False), _with_batches(config, True)
    online = estimate_of(alone, corpus)
    least = together_s(alone, online)
    time = f"at least {duration(least)}" if least else "as fast as the endpoint answers"
    yield f"request by request: {_dollars(online, known)}{time}"
    batched = estimate_of(together, corpus)
    count = turns(together, batched)
    window = max(able, key=lambda model: model.window_s).batch_window
    yield (
        f"all in batches: {_dollars(batched, known)}mostly {duration(count * _QUICK_S)} to {duration(count * _SLOW_S)}; "
        f"{_times(count)} follow each other, and the provider may take {window} for each"
    )
    if not any(model.batch for model in models):
        yield "batches are chosen by batch = true in [models], or in the section of one model"


def turns(config: Config, jobs: Mapping[str, Usage]) -> int:
    """How many batches of a run wait for each other: one a stage, or as many as the provider's queue makes of a job."""
    return sum(max((_turns(config, job, jobs[job]) for job in stage if job in jobs), default=0) for stage in STAGES)


def _turns(config: Config, job: str, usage: Usage) -> int:
    models = [config.model(section) for section in asked_sections(config, job)]
    batched = [model for model in models if model.batch]
    if not batched or not usage.requests:
        return 0
    share = usage.prompt_tokens / len(models)
    return max(math.ceil(share / (model.batch_enqueued_tokens or math.inf)) or 1 for model in batched)


def _with_batches(config: Config, batch: bool) -> Config:
    """The configuration in which every model that can be is asked in batches, or none."""

    def changed(model: Model) -> Model:
        return model.model_copy(update={"batch": batch}) if _can(model) else model

    models = config.models
    roles = {role: changed(model) for role, model in models.sections().items() if "." not in role}
    candidates = {name: changed(model) for name, model in models.candidates.items()}
    return config.model_copy(update={"models": models.model_copy(update={**roles, "candidates": candidates})})


def _can(model: Model) -> bool:
    return not model.local and has_batches(model.provider)


def _dollars(jobs: Mapping[str, Usage], known: bool) -> str:
    return f"${sum(usage.cost_usd for usage in jobs.values()):.4f}, " if known else ""


def _times(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"
