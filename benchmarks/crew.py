"""The job of mill.py by several workers: as a program the head, and what each worker process calls.

Each worker notes in a file when it sent its first request and had its last answer, and its CPU time at both: how long it
took to start is no part of what is measured. With no workers one process does the same.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from mill import Answer, Prompt, answering, chat_of
from work import MODEL, prompts

from engine.calls import batched
from engine.cluster.head import Cluster
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.leases import Leases
from engine.cluster.place import Place, Places
from engine.cluster.subprocesses import Processes, serve
from engine.cluster.worker import Alive, Events, Worker
from engine.datasets import Dataset
from engine.job import Job
from engine.limits import Limit, limited
from engine.requests import Call, Reply, Request
from engine.retries import RetryPolicy, retrying
from engine.runner import run
from engine.shard_run import JobContext
from engine.signals import Stop
from jobs.config import Model
from jobs.models.chat import text
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target

_TIMES = struct.Struct("dddd")


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: so many requests in shards of a size, by ``workers`` of ``engine``, ``in_flight`` in all."""

    base_url: str
    folder: str
    requests: int
    shard: int
    workers: int
    engine: str = "processes"
    in_flight: int | None = None
    requests_per_minute: float | None = None
    max_tokens: int = 512

    @property
    def model(self) -> Model:
        return Model(
            model=MODEL,
            base_url=self.base_url,
            api_key_env="",
            max_concurrency=self.in_flight,
            requests_per_minute=self.requests_per_minute,
        )


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Answers on disk, seconds from the first request to the last answer, CPU seconds in that time, of the head and of all."""

    answers: int
    seconds: float
    head_cpu_s: float
    cpu_s: float


def job(given: Crew) -> Job:
    async def ask(prompt: Prompt, call: Call) -> str:
        return text(await call(chat_of(prompt, given.max_tokens)))

    return answering(given.model, ask)


def datasets(given: Crew) -> dict[str, Dataset[Any]]:
    folder = Path(given.folder)
    return {"prompts": Dataset(folder / "prompts", Prompt), "answers": Dataset(folder / "answers", Answer)}


@asynccontextmanager
async def calling(
    given: Crew, stop: Stop, leases: Leaseholder | None, watched: Callable[[Call], Call] = lambda call: call
) -> AsyncIterator[Call]:
    """The line of jobs/models/roles.py, with the clocks inside."""
    model = given.model
    target = Target(role="generator", model=model, name=model.model, base_url=model.base_url, api_key="")
    limit = Limit(requests_per_minute=model.requests_per_minute, max_concurrency=model.max_concurrency)
    if leases is not None:
        leases.add("endpoint", limit)
    note = noting(Path(given.folder) / f"times.{os.getpid()}")
    async with Endpoint(target) as endpoint:

        async def noted(request: Request) -> Reply:
            note()
            reply = await endpoint(request)
            note()
            return reply

        call = retrying(limited(watched(noted), limit), RetryPolicy(), sleep=stop.sleep, hook=lambda event: None)
        yield batched(call, size=model.batch_size)


def noting(path: Path) -> Callable[[], None]:
    """Write the time and the CPU time of the first call, and of each after it."""
    file, first = os.open(path, os.O_CREAT | os.O_WRONLY), (0.0, 0.0)

    def note() -> None:
        nonlocal first
        now = time.monotonic(), time.process_time()
        first = first if first[0] else now
        os.pwrite(file, _TIMES.pack(*first, *now), 0)

    return note


def noted_by(given: Crew) -> list[tuple[float, float, float, float]]:
    return [_TIMES.unpack(path.read_bytes()) for path in Path(given.folder).glob("times.*") if path.stat().st_size]


def serve_worker() -> None:
    """What a worker process calls."""
    serve(built)


@asynccontextmanager
async def built(setup: bytes) -> AsyncIterator[Place]:
    given, stop, events, alive = msgspec.json.decode(setup, type=Crew), Stop(), Events(), Alive()
    leases, found = Leaseholder(starved=events.urgent.set), datasets(msgspec.json.decode(setup, type=Crew))
    async with calling(given, stop, leases, alive.watched) as call:
        context = JobContext(
            job=job(given),
            rank=0,
            inputs=[found["prompts"]],
            output=found["answers"],
            call=call,
            stop=stop,
            emit=events,
            retry=lambda job, failure: False,
            slots=asyncio.Semaphore(max(128, 2 * (given.in_flight or 256) // given.workers)),
        )
        yield Worker({"answer": context}, stop=stop, events=events, alive=alive, leases=leases)


def places(given: Crew) -> Places:
    """How the workers of an engine are started."""
    setup = msgspec.json.encode(given)
    if given.engine == "processes":
        return Processes("crew:serve_worker", lambda name: setup)
    if given.engine == "ray":
        from engine.cluster.on_ray import Ray

        return Ray("crew:serve_worker", lambda name: setup, {})
    raise SystemExit(f"there is no engine {given.engine!r}")


async def work(given: Crew) -> float:
    """Do the work; returns the CPU seconds of this process since the first request."""
    stop, found = Stop(), datasets(given)
    cpu = list[float]()

    def hook(event: Any) -> None:
        cpu.append(time.process_time()) if len(cpu) < 1 and noted_by(given) else None

    async with AsyncExitStack() as stack:
        if not given.workers:
            call = await stack.enter_async_context(calling(given, stop, None))
            await run([job(given)], found, call, stop=stop, hook=hook)
            return 0.0
        cluster = await stack.enter_async_context(Cluster(places(given), given.workers, stop=stop, hook=hook))
        leases = Leases(workers=given.workers, now=asyncio.get_running_loop().time())
        cluster.share(leases, Leaseholder(starved=cluster.starve))
        cluster.serve(["answer"])
        while cluster.ready < given.workers:  # noqa: ASYNC110 - how long they take to start is not measured here
            await asyncio.sleep(0.1)

        async def nobody(request: Request) -> Reply:
            raise RuntimeError("the head asks nothing here")

        await run([job(given)], found, nobody, stop=stop, hook=hook, elsewhere=cluster)
        return time.process_time() - cpu[0]


def main() -> None:
    given = msgspec.json.decode(sys.argv[1], type=Crew)
    numbered = enumerate(prompts(given.requests, 0))
    source = datasets(given)["prompts"]
    for index in range(-(-given.requests // given.shard)):
        rows = [Prompt(id=str(number), parent="", text=asked) for number, asked in islice(numbered, given.shard)]
        source.write_sealed(index, rows)
    head_cpu_s = asyncio.run(work(given))
    times = noted_by(given)
    done = Done(
        answers=sum(seal.rows for seal in datasets(given)["answers"].seals()),
        seconds=max(last for _, _, last, _ in times) - min(first for first, _, _, _ in times),
        head_cpu_s=head_cpu_s,
        cpu_s=head_cpu_s + sum(after - before for _, before, _, after in times),
    )
    print(msgspec.json.encode(done).decode())


if __name__ == "__main__":
    main()
