"""Ours with several processes: the job of `mill.py`, in workers that share one limit by leases."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import islice
from pathlib import Path
from typing import Any

import mill_worker
import msgspec
import work
from mill import Answer, Prompt, job
from work import MODEL, Settings, Started, judged, prompts, settings

from engine.cluster.head import Cluster
from engine.cluster.leaseholder import Leaseholder
from engine.cluster.leases import Leases
from engine.cluster.subprocesses import Processes
from engine.datasets import Dataset
from engine.events import AttemptFailed, Event
from engine.requests import Reply, Request
from engine.runner import run
from engine.signals import Stop
from jobs.config import Model


async def grind(given: Settings, folder: Path, clocks: Started) -> set[int]:
    """Returns the worker that was killed, if any."""
    datasets: dict[str, Dataset[Any]] = {
        "prompts": Dataset(folder / "prompts", Prompt),
        "answers": Dataset(folder / "answers", Answer),
    }
    stop = Stop()

    def hook(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            clocks.trouble(event.kind)

    async def call(request: Request) -> Reply:
        raise AssertionError("only workers ask")

    places = Processes("mill_worker:main", lambda name: msgspec.json.encode(given))
    answering = job(given, Model(model=MODEL, base_url=given.base_url, api_key_env=""), clocks)
    async with Cluster(places, given.workers, stop=stop, hook=hook) as cluster:
        cluster.share(Leases(workers=given.workers, now=asyncio.get_running_loop().time()), Leaseholder())
        cluster.serve([answering.name])
        killing = asyncio.create_task(kill_one(folder, given.kill_s)) if given.kill_s else None
        await run([answering], datasets, call, stop=stop, hook=hook, elsewhere=cluster)
        await cluster.last_reports()
        return {await killing} if killing is not None else set()


async def kill_one(folder: Path, after_s: float) -> int:
    """Kill the first worker that has sent a request, so many seconds after it did; returns its process."""
    while (process := await asyncio.to_thread(first_to_send, folder)) is None:  # noqa: ASYNC110 - it tells by a file
        await asyncio.sleep(0.1)
    await asyncio.sleep(after_s)
    os.kill(process, signal.SIGKILL)
    return process


def first_to_send(folder: Path) -> int | None:
    return next((int(path.suffix[1:]) for path in folder.glob("sent.*") if path.stat().st_size), None)


def deal(given: Settings, dataset: Dataset[Any]) -> None:
    numbered = enumerate(prompts(given.requests, given.seed))
    for index in range(-(-given.requests // given.shard)):
        rows = [Prompt(id=str(number), parent="", text=text) for number, text in islice(numbered, given.shard)]
        dataset.write_sealed(index, rows)


def sending(folder: Path, killed: set[int]) -> tuple[float, float]:
    """How long all who had something to send did, in seconds, and the part of all requests that were sent until then."""
    paths = [path for path in folder.glob("sent.*") if path.stat().st_size]
    times = {path: [at for (at,) in mill_worker.TIME.iter_unpack(path.read_bytes())] for path in paths}
    end = min(max(sent) for path, sent in times.items() if int(path.suffix[1:]) not in killed)
    every = sorted(at for sent in times.values() for at in sent)
    return end - every[0], sum(at <= end for at in every) / len(every)


def main() -> None:
    given = settings()
    folder = Path(given.folder)
    deal(given, Dataset(folder / "prompts", Prompt))
    clocks = Started()
    killed: set[int] = set()

    async def watched() -> None:
        killed.update(await grind(given, folder, clocks))

    work.run(given, watched())
    sending_s, sent_then = sending(folder, killed)
    outcome = msgspec.structs.replace(clocks.stopped(), sending_s=sending_s, sent_then=sent_then)
    answers = {row.parent: row.text for row in Dataset(folder / "answers", Answer).rows()}
    asked = {str(number): prompt for number, prompt in enumerate(prompts(given.requests, given.seed))}
    print(msgspec.json.encode(judged(outcome, answers, asked)).decode())


if __name__ == "__main__":
    main()
