"""Workers of tests: in this process, where they can be killed or frozen at any request, and the pipeline that they work on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_disk import Row, answer, datasets, each, names, outcome, prompt_of, request

from engine.cluster.head import Cluster
from engine.cluster.place import Lost, Place
from engine.cluster.wire import Wired
from engine.cluster.wire import answer as answer_over_wire
from engine.cluster.worker import Alive, Events, Worker
from engine.errors import Permanent
from engine.events import Event, InputDone, InputFailed
from engine.job import Job, Pipeline, Prepared
from engine.records import Record
from engine.requests import Call, Reply, Request
from engine.runner import Retry, run
from engine.shard_run import JobContext
from engine.signals import Stop

__all__ = ["Ledger", "WorkerPlaces", "mill_with", "three_jobs"]


@dataclass
class Ledger:
    """Every request, by the worker that sent it ("head" for the head), and what of it was in flight when workers died."""

    asked: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=dict)
    in_flight: dict[str, set[str]] = field(default_factory=dict)
    at_kills: int = 0
    owners: dict[str, str] = field(default_factory=dict)
    """What inputs have claimed, as a catalogue on the disk keeps it over the lives of a run."""

    def begin(self, who: str, request: Request) -> None:
        key = f"{request.job} {prompt_of(request)}"
        self.asked[key] += 1
        self.by.setdefault(who, Counter())[request.job] += 1
        self.in_flight.setdefault(who, set()).add(key)

    def hear(self, who: str, event: Event) -> None:
        """The worker has committed an input."""
        if isinstance(event, (InputDone, InputFailed)):
            self.in_flight.setdefault(who, set()).discard(f"{event.job} {event.id}")

    def kill(self, who: str) -> None:
        self.at_kills += len(self.in_flight.pop(who, set()))

    @property
    def paid_twice(self) -> int:
        return self.asked.total() - len(self.asked)


def three_jobs(owners: dict[str, str] | None = None, **settings: Any) -> list[Job]:
    """Jobs of all kinds: one that reviews claims of its rows, in shard order; one that was prepared, and reviews rows; and
    one that stays at the head."""
    suffix: list[str] = []

    async def grow(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        return outcome(row.id)

    async def grow_more(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        return [Row(id=f"{made.id}{suffix[0]}", parent=made.parent, text=made.text) for made in outcome(row.id)]

    async def prepare() -> None:
        suffix.append("-prepared")

    async def first_come(claims: Sequence[Sequence[str]]) -> Mapping[str, Permanent]:
        await asyncio.sleep(0)
        assert owners is not None, "only the head reviews"
        return {
            id_: Permanent("another was first", kind="duplicate")
            for text, id_ in claims
            if owners.setdefault(text, id_) != id_
        }

    async def drop_short(rows: Sequence[Row]) -> Mapping[str, Permanent]:
        await asyncio.sleep(0)
        return {row.parent: Permanent("dull", kind="dull") for row in rows if len(row.text) == 40}

    def job(name: str, reads: str, writes: str, **more: Any) -> Job:
        return Job(name=name, reads=(reads,), writes=writes, row=Row, expand=each(reads), **{**more, **settings})

    def claims(rows: Sequence[Row]) -> list[tuple[str, str]]:
        return [(f"{len(row.text)} {row.parent[0]}", row.parent) for row in rows]

    return [
        job("first", "source", "middle", process=grow, review=first_come, claims=claims),
        job(
            "second",
            "middle",
            "end",
            process=grow_more,
            review=drop_short,
            prepare=prepare,
            prepared=Prepared(dump=lambda: suffix, load=suffix.extend),
        ),
        job("third", "middle", "last", process=grow, head=True),
    ]


class WorkerPlaces:
    """`Places` in this process. `jobs` builds the pipeline of each worker, `call` is its endpoint, by the worker's name."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        *,
        jobs: Callable[[], Sequence[Job]] = three_jobs,
        call: Callable[[str], Call] | None = None,
    ) -> None:
        self.stops: dict[str, Stop] = {}
        self._folder = folder
        self._ledger = ledger
        self._jobs = jobs
        self._call = call or (lambda name: _prompt)
        self._groups: dict[str, set[asyncio.Task[bytes]]] = {}
        self._workers: dict[str, Worker] = {}
        self._frozen: dict[str, set[asyncio.Task[bytes]]] = {}

    async def check(self) -> None:
        """Nothing needs to be there."""

    async def start(self, name: str) -> Place:
        await asyncio.sleep(0)
        pipeline = self._jobs()
        found = datasets(self._folder, *names(pipeline))
        stop, alive = Stop(), Alive(lambda: None)
        self.stops[name] = stop
        events = _Heard(self._ledger, name)
        calling = self._call(name)

        async def call(request: Request) -> Reply:
            self._ledger.begin(name, request)
            return await calling(request)

        contexts = {
            job.name: JobContext(
                job=job,
                rank=rank,
                inputs=[found[each] for each in job.reads],
                output=found[job.writes],
                call=alive.watched(call),
                stop=stop,
                emit=events,
                retry=lambda job, failure: False,
                slots=asyncio.Semaphore(job.slots),
            )
            for rank, job in enumerate(pipeline)
        }
        worker = self._workers[name] = Worker(contexts, stop=stop, events=events, alive=alive)
        group: set[asyncio.Task[bytes]] = set()
        self._groups[name] = group

        async def exchange(method: str, argument: bytes) -> bytes:
            if name not in self._groups:
                raise Lost
            task = asyncio.create_task(answer_over_wire(worker, method, argument))
            group.add(task)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise Lost from None
                raise

        return Wired(exchange)

    async def end(self, name: str) -> str:
        if name not in self._frozen:
            await self.kill(name)
        return "was ended"

    async def close(self) -> None:
        """There is nothing else to end."""

    async def kill(self, name: str) -> None:
        """The worker ends here: what it had in flight is lost."""
        group = self._groups.pop(name, None)
        if group is None:
            return
        for task in group:
            task.cancel()
        await asyncio.gather(*group, return_exceptions=True)
        self._ledger.kill(name)  # not before: until it has ended it may begin another request
        await self._workers[name].close()

    def freeze(self, name: str) -> None:
        """The worker is not heard any more, cannot be ended, and goes on as if nothing had happened."""
        self._frozen[name] = self._groups.pop(name)

    async def thaw(self) -> None:
        """Wait until the frozen ones have done what they still do."""
        for name, group in self._frozen.items():
            await asyncio.wait(group, timeout=1)
            for task in group:
                task.cancel()
            await asyncio.gather(*group, return_exceptions=True)
            await self._workers[name].close()

    @property
    def alive(self) -> list[str]:
        return list(self._groups)


class _Heard(Events):
    """Events, which the ledger hears too."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__()
        self._ledger = ledger
        self._name = name

    def __call__(self, event: Event, shard: int = -1) -> None:
        self._ledger.hear(self._name, event)
        super().__call__(event, shard)


async def mill_with(
    folder: Path,
    workers: int,
    ledger: Ledger,
    *,
    places: WorkerPlaces | None = None,
    jobs: Callable[[], Pipeline] | None = None,
    stop: Stop | None = None,
    hook: Callable[[Event], None] = lambda event: None,
    retry: Retry = lambda job, failure: False,
    head_start_s: float | None = None,
) -> None:
    """One run with so many workers; with 0 one process does all.

    Parameters: nine, which are those of a run and of its workers, and who hears of both.
    """
    pipeline, stop = jobs() if jobs else three_jobs(ledger.owners), stop or Stop()

    async def call(request: Request) -> Reply:
        ledger.begin("head", request)
        return await _prompt(request)

    found = datasets(folder, *names(pipeline))
    if not workers:
        return await run(pipeline, found, call, stop=stop, hook=hook, retry=retry)
    places = places or WorkerPlaces(folder, ledger)
    async with Cluster(places, workers, stop=stop, hook=hook, head_start_s=head_start_s) as cluster:
        cluster.serve([job.name for job in pipeline if isinstance(job, Job) and not job.head])
        try:
            await run(pipeline, found, call, stop=stop, hook=hook, retry=retry, elsewhere=cluster)
        finally:
            await cluster.last_reports()


async def _prompt(request: Request) -> Reply:
    await asyncio.sleep(0)
    return answer(request)
