"""What a run would ask and cost, from the parsed chunks alone; no request is sent.

The figures are upper bounds on requests. Tokens are counted as four characters each, answers as `_ANSWER_TOKENS`.
"""

from __future__ import annotations

import sys

from engine.datasets import Dataset
from engine.requests import Usage
from jobs.config import Config, Model
from jobs.evaluation.lexical import LEXICAL
from jobs.records import Chunk
from jobs.run.model_names import model_name

__all__ = ["estimate", "print_estimate"]

_CHARACTERS_PER_TOKEN = 4
_QUESTION_TOKENS = 25
_ANSWER_TOKENS = 100
_PROMPT_TOKENS = 80
_JUDGE_TOKENS = 400
_RUBRIC_TOKENS = 150


def estimate(config: Config, chunks: Dataset[Chunk]) -> dict[str, Usage]:
    """For each job, an upper bound of its requests, and its tokens and dollars about; blocks."""
    count = characters = 0
    for chunk in chunks.rows():
        count += 1
        characters += len(chunk.text)
    chunk_tokens = characters // (_CHARACTERS_PER_TOKEN * count) if count else 0
    questions = min(count * config.ask.questions_per_chunk, config.ask.max_questions or sys.maxsize)
    asked = min(count, questions)
    one_call = config.ask.recipe == "evidence"
    contexts = chunk_tokens * config.augment.top_k
    evaluated = min(questions, 2 * config.evaluate.sample)
    generator, base, judge, vectors, *candidates = _models(config)
    compared = [base, *([] if config.finetune.backend == "none" else [base]), *candidates]
    bare = evaluated if config.evaluate.without_retrieval else 0
    prompts = evaluated * (contexts + _PROMPT_TOKENS) + bare * _PROMPT_TOKENS
    answered = (evaluated + bare, prompts, (evaluated + bare) * _ANSWER_TOKENS)
    answers = len(compared) * (evaluated + bare)
    per_batch = vectors.batch_size
    return {
        "ask": _usage(
            generator,
            asked,
            asked * (chunk_tokens + _PROMPT_TOKENS),
            questions * (_QUESTION_TOKENS + one_call * _ANSWER_TOKENS),
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


def print_estimate(config: Config, chunks: Dataset[Chunk]) -> None:
    """Print the estimate as one line a job, and their sum."""
    jobs = estimate(config, chunks)
    whole = Usage()
    for job, usage in jobs.items():
        whole += usage
        print(f"{job:<11}{_words(usage)}")
    print(f"{'together':<11}{_words(whole)}")
    unpriced = sorted({model_name(model) for model in _models(config) if not model.priced})
    if unpriced:
        print(f"no price configured for {', '.join(unpriced)}: set input_usd_per_million and output_usd_per_million")
    print("nothing was sent")


def _usage(model: Model, requests: int, prompt_tokens: int, completion_tokens: int) -> Usage:
    dollars = prompt_tokens * (model.input_usd_per_million or 0) + completion_tokens * (
        model.output_usd_per_million or 0
    )
    return Usage(
        requests=requests, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, cost_usd=dollars / 1e6
    )


def _words(usage: Usage) -> str:
    cost = f", ${usage.cost_usd:.4f}" if usage.cost_usd else ""
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"up to {usage.requests:,} requests, about {tokens:,} tokens{cost}"


def _models(config: Config) -> list[Model]:
    return [config.model(section) for section in config.models.sections()]
