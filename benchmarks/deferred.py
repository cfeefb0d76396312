"""Ours in batches: one job over a dataset of prompts, through the runner, whose requests all travel in a provider's batches.

``fill`` writes the input. ``defer`` ends as a kill does once every request stands in a batch that was created, ``resume``
once each batch was looked at; ``answer`` runs to the end. Each in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import openai  # as all imports, before the clocks run
from mill import Answer, Prompt, answering, chat_of
from processes import Deferral
from work import MODEL, peak_rss_mb, prompts

from engine.batches.batches import Batches
from engine.batches.policy import BatchPolicy, BatchTimes
from engine.batches.service import BatchService, BatchState
from engine.datasets import Dataset
from engine.deferrals import Deferrals
from engine.events import Event
from engine.job import Job
from engine.limits import Limit, limited
from engine.requests import Call
from engine.retries import RetryPolicy, retrying
from engine.runner import run
from engine.signals import Stop
from jobs.config import Model
from jobs.models.chat import ask_until_valid
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target

SHARD = 1000
TIMES = BatchTimes(idle_s=2.0, quiet_s=0.2, poll_s=0.5)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """``characters`` is the length of a prompt, 0 that of real ones; a batch has ``rows`` at most, 0 asks one by one."""

    do: str
    folder: str
    base_url: str = ""
    records: int
    rows: int = 0
    characters: int = 0


class Work:
    """One process of the job. ``made`` are the rows in created batches, ``seen`` the batches that were looked at."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._start_s, self._cpu_s = time.perf_counter(), time.process_time()
        self.made: dict[int, int] = {}
        self.seen: set[str] = set()

    async def whole(self) -> None:
        task, stop, folder = self._task, Stop(), Path(self._task.folder)
        datasets: dict[str, Dataset[Any]] = {
            "prompts": Dataset(folder / "prompts", Prompt),
            "answers": Dataset(folder / "answers", Answer),
        }
        model = Model(model=MODEL, base_url=task.base_url, api_key_env="", max_concurrency=100, requests_per_minute=1e7)
        target = Target(role="generator", model=model, name=MODEL, base_url=model.base_url, api_key="")
        limit = Limit(requests_per_minute=1e7, max_concurrency=100)
        async with Endpoint(target) as endpoint:
            call = retrying(limited(endpoint, limit), RetryPolicy(), sleep=stop.sleep, hook=self.hook)
            if not task.rows:
                return await run([_job(model)], datasets, call, stop=stop, hook=self.hook)
            async with Endpoint.batches(target) as service:
                await self._in_batches(service, datasets, call, model, stop)
        return None

    async def _in_batches(
        self, service: BatchService, datasets: dict[str, Dataset[Any]], call: Call, model: Model, stop: Stop
    ) -> None:
        async def opened(role: str) -> BatchService:
            return service

        service.get = self._looking(service.get)  # type: ignore[method-assign]
        folder = Path(self._task.folder) / "batches"
        async with Batches(folder, opened, stop=stop, hook=self.hook, times=TIMES) as batches:
            await batches.follow("generator", BatchPolicy(rows=self._task.rows), MODEL)
            deferrals: Deferrals = batches
            deferring = batches.deferring("generator", call)
            await run([_job(model)], datasets, deferring, stop=stop, hook=self.hook, deferrals=deferrals)

    def _looking(self, get: Any) -> Any:
        async def looked(batch_id: str) -> BatchState | None:
            state: BatchState | None = await get(batch_id)
            self.seen.add(batch_id)
            if self._task.do == "resume" and len(self.seen) == -(-self._task.records // self._task.rows):
                self.end()
            return state

        return looked

    def hook(self, event: Event) -> None:
        if getattr(event, "state", "") == "submitted":
            self.made[event.number] = event.rows  # type: ignore[attr-defined]
            if self._task.do == "defer" and sum(self.made.values()) == self._task.records:
                self.end()

    def end(self) -> None:
        """Say what was measured, and end as a kill does."""
        print(msgspec.json.encode(self.measured()).decode(), flush=True)
        os._exit(0)

    def measured(self) -> Deferral:
        return Deferral(
            wall_s=time.perf_counter() - self._start_s,
            cpu_s=time.process_time() - self._cpu_s,
            peak_rss_mb=peak_rss_mb(),
            batches=len(self.made) or len(self.seen),
        )


def _job(model: Model) -> Job:
    async def ask(prompt: Prompt, call: Call) -> str:
        return await ask_until_valid(call, chat_of(prompt, 1024), str)

    return answering(model, ask)


def fill(task: Task) -> None:
    """Write the prompts, shard by shard. Nothing is synced: this is not what is measured."""
    os.fsync = os.fdatasync = lambda descriptor: None  # type: ignore[assignment]
    dataset = Dataset(Path(task.folder) / "prompts", Prompt)
    words = "as a mill grinds grain " * (task.characters // 23)
    numbered = (f"Text {n}. {words}" for n in range(task.records)) if task.characters else prompts(task.records, 0)
    rows: list[Prompt] = []
    for number, text in enumerate(numbered, 1):
        rows.append(Prompt(id=str(number), parent="", text=text))
        if len(rows) == SHARD or number == task.records:
            dataset.write_sealed((number - 1) // SHARD, rows)
            rows = []


def main() -> None:
    task = msgspec.json.decode(sys.argv[1], type=Task)
    if task.do == "fill":
        fill(task)
        return print("filled")
    _ = openai.AsyncOpenAI(api_key="none").batches  # what it imports late
    work = Work(task)
    asyncio.run(work.whole())
    answers = sum(1 for _ in Dataset(Path(task.folder) / "answers", Answer).rows())
    if answers != task.records:
        raise SystemExit(f"{answers} of {task.records} records have an answer")
    print(msgspec.json.encode(work.measured()).decode())
    return None


if __name__ == "__main__":
    main()
