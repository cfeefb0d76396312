"""Ours on tiny records that are answered at once, in the process itself: what is left is the engine.

``fill`` writes the input, ``grind`` runs one job over it, each in a process of its own; a second ``grind`` is a resume.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from processes import Ground
from work import peak_rss_mb

from engine.datasets import Dataset
from engine.events import Event
from engine.job import Item, Job, ShardRows
from engine.limits import Limit, limited
from engine.records import Record, make_id
from engine.requests import Call, Reply, Request, Usage
from engine.retries import RetryPolicy, retrying
from engine.runner import run
from engine.signals import Stop
from jobs.models.chat import ask_until_valid, chat

IN_FLIGHT = 64


SHARD = 1000


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """``do`` is "grind", or "fill", which writes `records` records into shards from `first_shard` on."""

    do: str
    folder: str
    records: int = 0
    first_shard: int = 0


class Grain(Record, frozen=True, kw_only=True):
    text: str


class Flour(Record, frozen=True, kw_only=True):
    text: str


def fill(task: Task) -> int:
    """Returns the number of the next shard. Nothing is synced: this is not what is measured."""
    os.fsync = os.fdatasync = lambda descriptor: None  # type: ignore[assignment]
    grains = Dataset(Path(task.folder) / "grains", Grain)
    shards = -(-task.records // SHARD)
    for place in range(shards):
        index = task.first_shard + place
        names = [f"{index}-{number}" for number in range(min(SHARD, task.records - SHARD * place))]
        grains.write_sealed(index, [Grain(id=name, parent="", text=f"grain {name}") for name in names])
    return task.first_shard + shards


async def grind(task: Task) -> Ground:
    start_s, cpu_s = time.perf_counter(), time.process_time()
    first_s, asked = None, 0
    folder, stop = Path(task.folder), Stop()
    datasets: dict[str, Dataset[Any]] = {
        "grains": Dataset(folder / "grains", Grain),
        "flour": Dataset(folder / "flour", Flour),
    }

    async def answering(request: Request) -> Reply:
        nonlocal first_s, asked
        if first_s is None:
            first_s = time.perf_counter() - start_s
        asked += 1
        await asyncio.sleep(0)
        usage = Usage(requests=1, prompt_tokens=4, completion_tokens=4)
        return Reply(text=request.messages[0]["content"].upper(), usage=usage)

    def hook(event: Event) -> None:
        pass

    call = retrying(limited(answering, Limit(max_concurrency=IN_FLIGHT)), RetryPolicy(), sleep=stop.sleep, hook=hook)
    await run([_job()], datasets, call, stop=stop, hook=hook)
    return Ground(
        wall_s=time.perf_counter() - start_s,
        cpu_s=time.process_time() - cpu_s,
        first_s=first_s,
        asked=asked,
        peak_rss_mb=peak_rss_mb(),
    )


def _job() -> Job:
    async def process(grain: Grain, call: Call) -> Sequence[Record]:
        request = chat("generator", [{"role": "user", "content": grain.text}], max_tokens=16)
        text = await ask_until_valid(call, request, str)
        return [Flour(id=make_id("flour", grain.id, text), parent=grain.id, text=text)]

    def expand(shard: ShardRows) -> Iterator[Item]:
        return (Item(id=grain.id, value=grain) for grain in shard["grains"])

    return Job(
        name="grind",
        reads=("grains",),
        writes="flour",
        row=Flour,
        expand=expand,
        process=process,
        slots=2 * IN_FLIGHT,
    )


def main() -> None:
    task = msgspec.json.decode(sys.argv[1], type=Task)
    done = fill(task) if task.do == "fill" else asyncio.run(grind(task))
    print(msgspec.json.encode(done).decode())


if __name__ == "__main__":
    main()
