"""Ours: one job over a dataset of prompts, through the runner, with everything that a real job has around its call.

Limits, retries with backoff, repairs, decoding, validation, a durable commit of every answer, the seal of every shard.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import work
from work import MODEL, Settings, Started, judged, plausible, prompts, settings

from engine.calls import batched
from engine.datasets import Dataset
from engine.events import AttemptFailed, Event, log_events
from engine.job import Item, Job, ShardRows
from engine.limits import Limit, limited
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request
from engine.retries import RetryPolicy, retrying
from engine.runner import run
from engine.signals import Stop
from jobs.config import Model
from jobs.models.chat import Malformed, ask_until_valid, chat
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target
from jobs.models.roles import slots

SHARD = 1000


class Prompt(Record, frozen=True, kw_only=True):
    text: str


class Answer(Record, frozen=True, kw_only=True):
    text: str


def job(given: Settings, model: Model, clocks: Started) -> Job:
    """The job that is measured: an answer that is not in the words of its prompt is asked for again."""

    async def ask(prompt: Prompt, call: Call) -> str:
        def read(text: str) -> str:
            if not plausible(text, prompt.text):
                clocks.trouble("malformed")
                raise Malformed("It is not said in the words of the text.")
            return text

        return await ask_until_valid(call, chat_of(prompt, given.max_tokens), read)

    return answering(model, ask)


def chat_of(prompt: Prompt, max_tokens: int) -> Request:
    return chat("generator", [{"role": "user", "content": prompt.text}], max_tokens=max_tokens)


def answering(model: Model, ask: Callable[[Prompt, Call], Awaitable[str]]) -> Job:
    """One answer of `model` to each prompt, as `ask` gets it."""

    async def process(prompt: Prompt, call: Call) -> Sequence[Record]:
        text = await ask(prompt, call)
        return [Answer(id=make_id("answer", prompt.id, text), parent=prompt.id, text=text)]

    def expand(shard: ShardRows) -> Iterator[Item]:
        return (Item(id=prompt.id, value=prompt) for prompt in shard["prompts"])

    return Job(
        name="answer",
        reads=("prompts",),
        writes="answers",
        row=Answer,
        expand=expand,
        process=process,
        fingerprint={"model": model.model},
        slots=slots(model),
    )


async def grind(given: Settings, folder: Path, clocks: Started) -> None:
    model = Model(
        model=MODEL,
        base_url=given.base_url,
        api_key_env="",
        timeout_s=given.timeout_s,
        max_concurrency=given.in_flight,
        requests_per_minute=given.requests_per_minute,
        tokens_per_minute=given.tokens_per_minute,
    )
    datasets: dict[str, Dataset[Any]] = {
        "prompts": Dataset(folder / "prompts", Prompt),
        "answers": Dataset(folder / "answers", Answer),
    }
    stop, log = Stop(), log_events(_logger())
    limit = Limit(
        requests_per_minute=model.requests_per_minute,
        tokens_per_minute=model.tokens_per_minute,
        max_concurrency=model.max_concurrency,
    )

    def hook(event: Event) -> None:
        log(event)
        if isinstance(event, AttemptFailed):
            clocks.trouble(event.kind)

    target = Target(role="generator", model=model, name=model.model, base_url=model.base_url, api_key="")
    async with Endpoint(target) as endpoint:

        async def noted(request: Request) -> Reply:
            clocks.sent()
            return await endpoint(request)

        # The line of jobs/models/roles.py, with the clock inside.
        call = retrying(limited(noted, limit), RetryPolicy(), sleep=stop.sleep, hook=hook)
        await run([job(given, model, clocks)], datasets, batched(call, size=model.batch_size), stop=stop, hook=hook)


def _logger() -> logging.Logger:
    """One that makes its records, as in a real run, and shows none."""
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


def deal(given: Settings, dataset: Dataset[Any]) -> None:
    """Write the prompts, shard by shard: the input of the job, not part of what is measured."""
    numbered = enumerate(prompts(given.requests, given.seed))
    for index in range(-(-given.requests // SHARD)):
        rows = [Prompt(id=str(number), parent="", text=text) for number, text in islice(numbered, SHARD)]
        dataset.write_sealed(index, rows)


def count_syncs(given: Settings) -> Iterator[int]:
    """Count every fsync from now on: as quick as the disk is, slower by ``sync_s``, or left out."""
    counted = count()

    def counting(real: Callable[[int], None]) -> Callable[[Any], None]:
        def sync(descriptor: int) -> None:
            next(counted)
            if given.sync:
                real(descriptor)
                time.sleep(given.sync_s)

        return sync

    os.fsync, os.fdatasync = counting(os.fsync), counting(os.fdatasync)
    return counted


def main() -> None:
    given = settings()
    # What is measured holds no prompts in memory but those of its open shards.
    folder = Path(given.folder)
    deal(given, Dataset(folder / "prompts", Prompt))
    syncs = count_syncs(given)
    clocks = Started()
    work.run(given, grind(given, folder, clocks))
    outcome = clocks.stopped()
    answers = {row.parent: row.text for row in Dataset(folder / "answers", Answer).rows()}
    asked = {str(number): prompt for number, prompt in enumerate(prompts(given.requests, given.seed))}
    judgement = judged(outcome, answers, asked)
    print(msgspec.json.encode(msgspec.structs.replace(judgement, syncs=next(syncs))).decode())


if __name__ == "__main__":
    main()
