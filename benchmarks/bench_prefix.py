"""How much of the prompts does a provider's prefix cache find, when chunks are asked about and answered?

The jobs `ask` and `answer` on chunks of 800 words, against the simulated endpoint with a prefix cache of several sizes,
in virtual time. A prompt is in the cache once the first token of its answer is out. "Before" every item is started in
its place and sent in its turn; "ranked" lets requests of `answer` pass those of `ask`; "fed" starts the items of
`answer` by turns (`jobs.generation.shared_chunks`); "after" is both, as it is now.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from tables import Row, options, show, write

from engine.budget import Budget
from engine.datasets import Dataset
from engine.job import Job
from engine.requests import Reply, Request
from engine.runner import run
from engine.signals import Stop
from engine.virtualtime import run_virtual
from jobs.config import Config
from jobs.generation.answer import answer
from jobs.generation.ask import ask, llama_index
from jobs.generation.quota import Quota
from jobs.models.roles import ModelCalls, slots
from jobs.records import Chunk, Pair, Question
from jobs.simulator import simulated_endpoint

WORDS, QUESTIONS = 800, 2
SIZES = (0.25, 0.5, 1.25, 4.0)  # of the cache, in shards
ORDERS = ("before", "ranked", "fed", "after")
MOST = QUESTIONS / (1 + QUESTIONS)  # the first prompt about a chunk finds nothing
FIRST_TOKEN_S, TOKENS_PER_SECOND = 0.5, 80.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all prompts of a job, and those of them that were found in the cache; seconds of virtual time."""

    order: str
    cache_tokens: int
    ask_tokens: int
    ask_cached: int
    answer_tokens: int
    answer_cached: int
    seconds: float

    @property
    def share(self) -> float:
        return (self.ask_cached + self.answer_cached) / (self.ask_tokens + self.answer_tokens)


def main() -> None:
    given = options(__doc__, shards=3, chunks=200, in_flight=32)
    os.fsync = os.fdatasync = lambda descriptor: None  # type: ignore[assignment]
    whole = given.chunks * WORDS
    found = [
        measured(order, round(part * whole), shards=given.shards, chunks=given.chunks, in_flight=given.in_flight)
        for part in SIZES
        for order in ORDERS
    ]
    show(
        f"{given.shards} shards of {given.chunks} chunks, {given.in_flight} in flight",
        ["order", "cache, tokens", "ask", "answer", "together", "seconds"],
        [
            [
                each.order,
                f"{each.cache_tokens:,}",
                f"{each.ask_cached / each.ask_tokens:.3f}",
                f"{each.answer_cached / each.answer_tokens:.3f}",
                f"{each.share:.3f}",
                f"{each.seconds:.0f}",
            ]
            for each in found
        ],
    )
    write(given.json, {"rows": _rows(found, whole), "found": found})


def _rows(found: list[Found], whole: int) -> list[Row]:
    by_size = {each.cache_tokens: [] for each in found}
    for each in found:
        by_size[each.cache_tokens].append(each)
    return [
        Row(
            measure=f"share of prompt tokens found cached, ask and answer, cache of {tokens / whole:g} shards",
            value=f"{of[-1].share:.3f} (at most {MOST:.3f})",
            floor=f"before: {of[0].share:.3f}; ranked alone {of[1].share:.3f}, fed alone {of[2].share:.3f}",
        )
        for tokens, of in by_size.items()
    ]


def measured(order: str, cache_tokens: int, *, shards: int, chunks: int, in_flight: int) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        datasets = _datasets(Path(folder), shards, chunks)
        seconds = run_virtual(_ground(datasets, order, cache_tokens, in_flight))
        asked, answered = datasets["questions"].usage(), datasets["pairs"].usage()
    return Found(
        order=order,
        cache_tokens=cache_tokens,
        ask_tokens=asked.prompt_tokens,
        ask_cached=asked.cached_tokens,
        answer_tokens=answered.prompt_tokens,
        answer_cached=answered.cached_tokens,
        seconds=seconds,
    )


async def _ground(datasets: dict[str, Dataset[Any]], order: str, cache_tokens: int, in_flight: int) -> float:
    endpoint = simulated_endpoint(
        prefix_cache_tokens=cache_tokens,
        latency_mean_s=FIRST_TOKEN_S,
        latency_sigma=0.3,
        output_tokens_per_second=TOKENS_PER_SECOND,
    )
    async with endpoint as server:
        section = {
            "model": "simulated-chat",
            "base_url": server.base_url,
            "api_key_env": "",
            "max_concurrency": in_flight,
        }
        config = Config.model_validate({"models": {"generator": section}})
        stop, began = Stop(), asyncio.get_running_loop().time()
        calls = ModelCalls(
            config, budget=Budget(), weights=None, stop=stop, hook=lambda event: None, tuned=lambda: None
        )
        async with calls:

            async def level(request: Request) -> Reply:
                return await calls(
                    request if order in ("ranked", "after") else msgspec.structs.replace(request, rank=0)
                )

            await run(_jobs(config, datasets, order), datasets, level, stop=stop, hook=lambda event: None)
        return asyncio.get_running_loop().time() - began


def _jobs(config: Config, datasets: dict[str, Dataset[Any]], order: str) -> list[Job]:
    model = config.models.generator
    quota = Quota(datasets["chunks"], datasets["questions"], per_chunk=QUESTIONS, cap=None)
    jobs = [
        ask(
            recipe=llama_index(model.max_tokens),
            quota=quota,
            side_of_question=None,
            fingerprint={},
            slots=slots(model),
        ),
        answer(max_tokens=model.max_tokens, fingerprint={}, slots=slots(model)),
    ]
    return jobs if order in ("fed", "after") else [dataclasses.replace(job, feeds=tuple) for job in jobs]


def _datasets(folder: Path, shards: int, chunks: int) -> dict[str, Dataset[Any]]:
    datasets: dict[str, Dataset[Any]] = {
        name: Dataset(folder / name, kind)
        for name, kind in (("chunks", Chunk), ("questions", Question), ("pairs", Pair))
    }
    random = Random(0)
    for shard in range(shards):
        datasets["chunks"].write_sealed(shard, [_chunk(f"{shard}-{number}", random) for number in range(chunks)])
    return datasets


def _chunk(name: str, random: Random) -> Chunk:
    return Chunk(
        id=name,
        parent="paper",
        paper_id=f"paper {name}",
        title="On Mills",
        position=0,
        text=" ".join(f"w{random.randrange(100_000)}" for _ in range(WORDS)) + ".",
        page_first=1,
        page_last=1,
        split="train",
    )


if __name__ == "__main__":
    main()
