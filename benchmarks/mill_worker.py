"""One worker of `mill_head.py`: the job of `mill.py`, with its part of the limit that all workers share."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from mill import Answer, Prompt, job
from work import MODEL, Settings, Started

from engine.cluster.leaseholder import Leaseholder
from engine.cluster.place import Place
from engine.cluster.subprocesses import serve
from engine.cluster.worker import Alive, Events, Worker
from engine.datasets import Dataset
from engine.limits import Limit, limited
from engine.requests import Reply, Request
from engine.retries import RetryPolicy, retrying
from engine.shard_run import JobContext
from engine.signals import Stop
from jobs.config import Model
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target

TIME = struct.Struct("d")


@asynccontextmanager
async def built(setup: bytes) -> AsyncIterator[Place]:
    given = msgspec.json.decode(setup, type=Settings)
    model = Model(model=MODEL, base_url=given.base_url, api_key_env="", timeout_s=given.timeout_s)
    folder, stop, events, alive = Path(given.folder), Stop(), Events(), Alive()
    limit = Limit(requests_per_minute=given.requests_per_minute, tokens_per_minute=given.tokens_per_minute)
    leases = Leaseholder(starved=events.urgent.set)
    leases.add("endpoint", limit)
    # When each request was sent: the clock is that of all processes, and what a killed one has written is there.
    sent = os.open(folder / f"sent.{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    target = Target(role="generator", model=model, name=model.model, base_url=model.base_url, api_key="")
    async with Endpoint(target) as endpoint:

        async def noted(request: Request) -> Reply:
            os.write(sent, TIME.pack(time.monotonic()))
            return await endpoint(request)

        answering = job(given, model, Started())
        call = retrying(limited(alive.watched(noted), limit), RetryPolicy(), sleep=stop.sleep, hook=events)
        context = JobContext(
            job=answering,
            rank=0,
            inputs=[Dataset(folder / "prompts", Prompt)],
            output=Dataset(folder / "answers", Answer),
            call=call,
            stop=stop,
            emit=events,
            retry=lambda job, failure: False,
            slots=asyncio.Semaphore(answering.slots),
        )
        yield Worker({answering.name: context}, stop=stop, events=events, alive=alive, leases=leases)


def main() -> None:
    """What the process calls."""
    serve(built)
