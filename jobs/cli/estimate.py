"""An estimate of a run's requests and cost, from the parsed chunks; no request is sent.

The figures are upper bounds on requests. Tokens are counted as four characters each, answers as `_ANSWER_TOKENS`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from engine.datasets import Dataset
from engine.requests import Usage
from jobs.cli.durations import duration
from jobs.config import Config, Model
from jobs.evaluation.lexical import LEXICAL
from jobs.models.usage import price_of
from jobs.records import Chunk
from jobs.registry import declared

__all__ = ["Corpus", "asked_sections", "corpus_of", "estimate", "estimate_of", "estimated_lines", "together_s"]

_CHARACTERS_PER_TOKEN = 4
_QUESTION_TOKENS = 25
_ANSWER_TOKENS = 100
_PROMPT_TOKENS = 80
_GROUNDED_TOKENS = 450
_EVIDENCE_TOKENS = 60
_JUDGE_TOKENS = 400
_RUBRIC_TOKENS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """How many chunks a run has, and how many characters all of them. ``left`` has the inputs that each job has left.

    None stands for all of them.
    """

    chunks: int
    characters: int
    left: Mapping[str, int] | None = None


def corpus_of(chunks: Dataset[Chunk], *, times: float = 1.0) -> Corpus:
    """The corpus that has `times` as many papers as those whose `chunks` are there; blocks."""
    count = characters = 0
    for chunk in chunks.rows():
        count += 1
        characters += len(chunk.text)
    return Corpus(chunks=round(count * times), characters=round(characters * times))


def estimate(config: Config, chunks: Dataset[Chunk]) -> dict[str, Usage]:
    """`estimate_of` the corpus of `chunks`; blocks."""
    return estimate_of(config, corpus_of(chunks))


def estimate_of(config: Config, corpus: Corpus) -> dict[str, Usage]:
    """For each job, an upper bound of its requests, and about how many tokens and dollars it takes.

    Dollars are at the batch price where a model is asked in batches. Of a run that is there, what is left.
    """
    count, characters = corpus.chunks, corpus.characters
    chunk_tokens = characters // (_CHARACTERS_PER_TOKEN * count) if count else 0
    questions = min(count * config.ask.questions_per_chunk, config.ask.max_questions or sys.maxsize)
    asked = min(count, questions)
    one_call = config.ask.drafts
    contexts = chunk_tokens * config.augment.top_k
    evaluated = min(questions, 2 * config.evaluate.sample)
    generator, base, judge, vectors, *candidates = _models(config)
    compared = [base, *([] if config.finetune.backend == "none" else [base]), *candidates]
    bare = evaluated if config.evaluate.without_retrieval else 0
    prompts = evaluated * (contexts + _PROMPT_TOKENS) + bare * _PROMPT_TOKENS
    answered = (evaluated + bare, prompts, (evaluated + bare) * _ANSWER_TOKENS)
    answers = len(compared) * (evaluated + bare)
    per_batch = vectors.batch_size
    whole = {
        "ask": _usage(
            generator,
            asked,
            asked * (chunk_tokens + (_GROUNDED_TOKENS if one_call else _PROMPT_TOKENS)),
            questions * (_QUESTION_TOKENS + one_call * (_ANSWER_TOKENS + _EVIDENCE_TOKENS)),
        ),
        "answer": _usage(
            generator,
            *((0, 0, 0) if one_call else (questions, questions * (chunk_tokens + 60), questions * _ANSWER_TOKENS)),
        ),
        "index": _usage(vectors, -(-count // per_batch), count * chunk_tokens, 0),
        ("probe" if config.curate.embeds else "augment"): _usage(
            vectors, -(-questions // per_batch), questions * _QUESTION_TOKENS, 0
        ),
        **({"critique": _critique(judge, questions, chunk_tokens)} if config.curate.critic else {}),
        "respond": sum((_usage(model, *answered) for model in compared), Usage()),
        "similarity": _usage(vectors, answers, 2 * answers * _ANSWER_TOKENS, 0),
        **_judging(config, judge, answers, len(compared), contexts),
    }
    inputs = {"ask": asked, "index": count, "probe": questions, "augment": questions}
    return whole if corpus.left is None else _left(whole, inputs, corpus.left)


def _left(whole: Mapping[str, Usage], inputs: Mapping[str, int], left: Mapping[str, int]) -> dict[str, Usage]:
    """The share of each job that it has `left`, of its `inputs` or, where each is a request, of its requests."""
    found = {}
    for job, usage in whole.items():
        part, of = left[job], max(1, inputs.get(job, usage.requests))
        found[job] = Usage(
            requests=-(-usage.requests * part // of),
            prompt_tokens=usage.prompt_tokens * part // of,
            completion_tokens=usage.completion_tokens * part // of,
            cost_usd=usage.cost_usd * part / of,
        )
    return found


def _judging(config: Config, judge: Model, answers: int, models: int, contexts: int) -> dict[str, Usage]:
    """What the judge is asked: of each answer once, and for each metric that asks; of some again, or beside the base's."""
    settings = config.evaluate

    paid = sum(metric not in LEXICAL for metric in settings.metrics)

    def asked(requests: int, more_tokens: int = 0) -> Usage:
        prompt_tokens = _JUDGE_TOKENS + 2 * _ANSWER_TOKENS + more_tokens
        return _usage(judge, requests, requests * prompt_tokens, requests * _ANSWER_TOKENS)

    def sampled(count: int, of: int) -> int:
        return of * min(count, settings.sample) // settings.sample

    return {
        "judge": asked(answers),
        **({"assess": asked(paid * answers, contexts)} if paid else {}),
        **({"rejudge": asked(sampled(settings.rejudge, answers))} if settings.rejudge else {}),
        **({"prefer": asked(2 * sampled(settings.pairwise, answers - answers // models))} if settings.pairwise else {}),
    }


def _critique(judge: Model, questions: int, chunk_tokens: int) -> Usage:
    asked = chunk_tokens + _RUBRIC_TOKENS + _QUESTION_TOKENS + _ANSWER_TOKENS
    return _usage(judge, questions, questions * asked, questions * _ANSWER_TOKENS)


def estimated_lines(config: Config, jobs: Mapping[str, Usage]) -> Iterator[str]:
    """One line a job, and one for their sum, each with the time that it takes at the configured limits."""
    for job, usage in jobs.items():
        yield f"{job:<11}{_words(usage)}{_at_least(max(_seconds(config, job, usage).values(), default=0.0))}"
    yield f"{'together':<11}{_words(sum(jobs.values(), Usage()))}{_at_least(together_s(config, jobs))}"


def together_s(config: Config, jobs: Mapping[str, Usage]) -> float:
    """The least time of all `jobs` in seconds, at the configured limits: jobs run side by side, but share models."""
    by_model: defaultdict[tuple[str, str], float] = defaultdict(float)
    for job, usage in jobs.items():
        for model, seconds in _seconds(config, job, usage).items():
            by_model[model] += seconds
    return max(by_model.values(), default=0.0)


def _seconds(config: Config, job: str, usage: Usage) -> dict[tuple[str, str], float]:
    """The least time of a job, by the address and name of each model that it asks; `respond` asks all of them alike."""
    sections = asked_sections(config, job)
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for model in map(config.model, sections):
        found[model.base_url, model.model] += _least_s(model, usage, share=len(sections))
    return found


def asked_sections(config: Config, job: str) -> list[str]:
    """The sections of [models] that a job asks: that of its role, and the compared models where it lets them answer."""
    role = declared("papers")[job].role or ""
    if job != "respond":
        return [role]
    tuned = [] if config.finetune.backend == "none" else [role]
    return [role, *tuned, *(f"candidates.{name}" for name in config.models.candidates)]


def _least_s(model: Model, usage: Usage, *, share: int) -> float:
    """The least time at a model's limits, which do not hold for batches."""
    if model.batch:
        return 0.0
    tokens = usage.prompt_tokens + usage.completion_tokens
    minutes = [
        amount / share / limit
        for amount, limit in ((usage.requests, model.requests_per_minute), (tokens, model.tokens_per_minute))
        if limit
    ]
    return 60 * max(minutes, default=0.0)


def _at_least(seconds: float) -> str:
    return f", at least {duration(seconds)}" if seconds else ""


def _usage(model: Model, requests: int, prompt_tokens: int, completion_tokens: int) -> Usage:
    usage = Usage(requests=requests, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    return msgspec.structs.replace(usage, cost_usd=price_of(model).usd(usage, batch=model.batch))


def _words(usage: Usage) -> str:
    cost = f", ${usage.cost_usd:.4f}" if usage.cost_usd else ""
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"up to {usage.requests:,} requests, about {tokens:,} tokens{cost}"


def _models(config: Config) -> list[Model]:
    return [config.model(section) for section in config.models.sections()]
