"""A provider of batches in memory, which outlives the processes that use it, and says what was paid twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
from fake_disk import Books, Killed, answer, datasets, names, prompt_of

from engine.batches.batches import Batches
from engine.batches.policy import BatchPolicy, BatchTimes
from engine.batches.service import BatchState, FileVanished, QueueFull, Status
from engine.budget import Budget
from engine.errors import GristmillError, Permanent, Transient
from engine.events import Event
from engine.job import Pipeline
from engine.requests import Reply, Request, Usage
from engine.runner import Retry, run
from engine.signals import Stop

__all__ = ["Provider", "Submitted", "killing", "work"]


@dataclass
class Submitted:
    """One batch at the provider: what becomes of each row is decided when it is made."""

    id: str
    file: str
    rows: list[tuple[str, str]]
    made_at: float
    status: Status = "running"
    lines: list[bytes] = field(default_factory=list)
    failed: int = 0


@dataclass
class Provider:
    """The provider, and its faults: shares of rows that expire or fail, and what happens to the batch of a number.

    ``at`` is called with the name of each step, before and after; it may raise. ``queue`` bounds the rows of all batches
    that run.
    """

    expires: float = 0.0
    fails: float = 0.0
    refuses: float = 0.0
    loses_answer: Callable[[int], bool] = lambda number: False
    vanishes: Callable[[int], bool] = lambda number: False
    loses_input: Callable[[int], bool] = lambda number: False
    loses_output: Callable[[int], bool] = lambda number: False
    all_fail: str = ""
    queue: int | None = None
    queue_late: bool = False
    lag_s: float = 0.0
    run_s: float = 100.0
    twice: bool = False
    account: str = "mine"
    at: Callable[[str], None] = lambda step: None
    began: float = 1000.0
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Submitted] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    online: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    random: Random = field(default_factory=lambda: Random(0))

    @property
    def paid_twice(self) -> int:
        return sum(self.paid.values()) - len(self.paid)

    def clock(self) -> float:
        return self.began + asyncio.get_running_loop().time()

    # What `BatchService` has.

    def row(self, custom_id: str, request: Request) -> bytes:
        return msgspec.json.encode([custom_id, prompt_of(request)]) + b"\n"

    async def upload(self, file: Path) -> str:
        self._step("before upload")
        id_ = f"file-{len(self.files)}"
        self.files[id_] = await asyncio.to_thread(file.read_bytes)
        self._step("after upload")
        return id_

    async def create(self, file_id: str, window: str) -> BatchState:
        self._step("before create")
        number = len(self.batches)
        if file_id not in self.files or (self.loses_input(self.calls["before create"] - 1)):
            raise FileVanished("no such file")
        rows = msgspec.json.decode(
            b"[" + self.files[file_id].replace(b"\n", b",")[:-1] + b"]", type=list[tuple[str, str]]
        )
        assert len({id_ for id_, _ in rows}) == len(rows)
        full = self._is_full(len(rows))
        if full and not self.queue_late:
            raise QueueFull("the queue is full")
        batch = Submitted(id=f"batch-{number}", file=file_id, rows=[] if full else rows, made_at=self.clock())
        batch.status = "failed" if full or self.all_fail else "running"
        self.batches[batch.id] = batch
        if self.loses_answer(number):
            raise Transient("the connection broke", kind="reset")
        self._step("after create")
        return self._state(batch)

    async def get(self, batch_id: str) -> BatchState | None:
        self._step("before get")
        batch = self.batches[batch_id]
        number = int(batch_id.partition("-")[2])
        if self.vanishes(number):
            return None
        if batch.status == "running" and self.clock() >= batch.made_at + self.run_s:
            self._do(batch)
        self._step("after get")
        return self._state(batch)

    async def list(self) -> AsyncIterator[BatchState]:
        self._step("before list")
        for batch in reversed(list(self.batches.values())):
            if self.clock() >= batch.made_at + self.lag_s:
                yield self._state(batch)

    async def cancel(self, batch_id: str) -> None:
        self.batches[batch_id].status = "cancelled"

    async def download(self, file_id: str, to: Path) -> bool:
        self._step("before download")
        batch = self.batches[file_id.partition("/")[2]]
        if self.loses_output(int(batch.id.partition("-")[2])):
            return False
        await asyncio.to_thread(to.write_bytes, b"".join(batch.lines))
        self._step("after download")
        return True

    def custom_id(self, line: bytes) -> str:
        try:
            return str(msgspec.json.decode(line)[0])
        except msgspec.DecodeError:
            return ""

    def usage(self, line: bytes) -> Usage:
        _, kind, text = msgspec.json.decode(line)
        return (
            Usage(requests=1, prompt_tokens=len(text), completion_tokens=3, cost_usd=0.1 * len(text))
            if kind == "ok"
            else Usage()
        )

    def outcome(self, line: bytes, request: Request) -> Reply | GristmillError:
        _, kind, text = msgspec.json.decode(line)
        if kind == "ok":
            assert text == prompt_of(request)
            return answer(request)
        return Permanent(text, kind="refused") if kind == "refused" else Transient(text, kind=kind)

    # How.

    def _step(self, name: str) -> None:
        self.calls[name] += 1
        self.at(name)

    def _is_full(self, rows: int) -> bool:
        running = sum(len(batch.rows) for batch in self.batches.values() if batch.status == "running")
        return self.queue is not None and running + rows > self.queue

    def _do(self, batch: Submitted) -> None:
        late = False
        for id_, text in batch.rows:
            drawn = self.random.random()
            kind = "ok"
            if drawn < self.expires:
                kind, late = "batch_expired", True
            elif drawn < self.expires + self.fails:
                kind = "server_error"
            elif Random(text).random() < self.refuses:
                kind = "refused"
            if kind == "ok":
                self.paid[id_] += 1
            batch.failed += kind != "ok"
            batch.lines.append(msgspec.json.encode([id_, kind, text]) + b"\n")
        batch.lines += batch.lines[:1] if self.twice else []
        self.random.shuffle(batch.lines)
        batch.status = "expired" if late else "completed"

    def _state(self, batch: Submitted) -> BatchState:
        ended = batch.status in ("completed", "expired")
        return BatchState(
            id=batch.id,
            input_file=batch.file,
            status=batch.status,
            total=len(batch.rows),
            completed=len(batch.rows) - batch.failed if ended else 0,
            failed=batch.failed,
            created_at=batch.made_at,
            output_file=f"output/{batch.id}" if ended else "",
            reason=self.all_fail if batch.status == "failed" else "",
            queue_full=batch.status == "failed" and not self.all_fail,
        )


async def work(
    folder: Path,
    provider: Provider,
    pipeline: Pipeline,
    books: Books,
    *,
    policy: BatchPolicy | None = None,
    stop: Stop | None = None,
    hook: Callable[[Event], None] = lambda event: None,
    budget: Budget | None = None,
    retry: Retry = lambda job, failure: False,
    also: Sequence[str] = (),
) -> None:
    """One process that does `pipeline` in batches at `provider`."""
    stop = stop or Stop()

    def both(event: Event) -> None:
        books.hook(event)
        hook(event)

    async def opened(role: str) -> Provider:
        return provider

    async def online(request: Request) -> Reply:
        provider.online[prompt_of(request)] += 1
        return answer(request)

    times = BatchTimes(idle_s=60, quiet_s=1, poll_s=60, settle_s=180)
    async with Batches(
        folder / "batches", opened, stop=stop, hook=both, budget=budget, times=times, clock=provider.clock
    ) as batches:
        await batches.follow("generator", policy or BatchPolicy(), "model")
        found = datasets(folder, *names(pipeline), *also)
        await run(
            pipeline,
            found,
            batches.deferring("generator", online),
            stop=stop,
            hook=both,
            retry=retry,
            deferrals=batches,
        )


def killing(number: int) -> Callable[[str], None]:
    """A hook for `Provider.at` that ends the process at step `number`."""
    count = 0

    def at(step: str) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Killed(step)

    return at
