"""A run with workers: the bytes, requests, events and ends of a run in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fake_disk import Row, answer, contents, datasets, deal, each, outcome, prompt_of, request, virtually
from worker_places import Ledger, WorkerPlaces, mill_with, three_jobs

from engine.breaker import SAME_FAILURES, Breaker
from engine.cluster.messages import Orders
from engine.cluster.place import QUIET_S
from engine.cluster.worker import Alive, Events, Worker
from engine.errors import Fatal, Permanent
from engine.events import Event, InputDone, InputDropped, InputFailed, Note, ShardOpened, ShardSealed
from engine.job import Job
from engine.records import Record
from engine.requests import Call, Reply, Request
from engine.shards import total
from engine.signals import Stop, Stopped

SIZES = [5, 0, 9, 1, 3, 7, 12, 2]


def dealt(folder: Path, sizes: list[int] = SIZES) -> Path:
    folder.mkdir()
    deal(folder, sizes)
    return folder


async def undisturbed(folder: Path, sizes: list[int] = SIZES) -> dict[str, bytes]:
    await mill_with(dealt(folder, sizes), 0, Ledger())
    return contents(folder)


def figures(events: list[Event]) -> Any:
    done = Counter[str]()
    for event in events:
        if isinstance(event, InputDone):
            done[event.job] += event.inputs
    failed = sorted(
        (event.job, event.id, event.kind, event.reason) for event in events if isinstance(event, InputFailed)
    )
    dropped = sorted((event.job, event.id, event.kind) for event in events if isinstance(event, InputDropped))
    opened = Counter((event.job, event.shard, event.inputs) for event in events if isinstance(event, ShardOpened))
    seals = [event for event in events if isinstance(event, ShardSealed)]
    sealed = sorted((event.job, event.shard, event.inputs, event.rows, event.failed) for event in seals)
    paid = total(event.usage for event in events if isinstance(event, (InputDone, InputFailed)))
    return done, failed, dropped, opened, sealed, paid


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_the_same_bytes(tmp_path: Path, workers: int) -> None:
    """Any number of workers leaves the files that one process leaves, and asks each thing once."""
    expected, ledger = await undisturbed(tmp_path / "one"), Ledger()
    await mill_with(dealt(tmp_path / "many"), workers, ledger)
    assert contents(tmp_path / "many") == expected
    assert ledger.paid_twice == 0
    assert {job for who, jobs in ledger.by.items() for job in jobs if who != "head"} == {"first", "second"}
    assert set(ledger.by["head"]) == {"third"}
    assert len(ledger.by) == workers + 1


async def test_the_number_of_workers_may_change(tmp_path: Path) -> None:
    """A run is begun by one process, goes on with three workers and one, and is ended by one process: the same bytes."""
    expected, ledger = await undisturbed(tmp_path / "one"), Ledger()
    folder = dealt(tmp_path / "many")
    for workers, until in ((0, 9), (3, 17), (1, 30), (0, 1000)):
        stop, done = Stop(), 0

        def count(event: Event, stop: Stop = stop, until: int = until) -> None:
            nonlocal done
            if isinstance(event, (InputDone, InputFailed)):
                done += 1
                if done >= until:
                    stop.request()

        try:
            await mill_with(folder, workers, ledger, stop=stop, hook=count)
        except Stopped:
            continue
    assert contents(folder) == expected
    assert ledger.paid_twice == 0


async def test_events_are_counted_as_in_one_process(tmp_path: Path) -> None:
    """Inputs, failures with reasons, drops, usage and seals are the same; successes may come together."""

    told: list[list[Event]] = [[], []]
    await mill_with(dealt(tmp_path / "one"), 0, Ledger(), hook=told[0].append)
    await mill_with(dealt(tmp_path / "many"), 3, Ledger(), hook=told[1].append)
    assert figures(told[1]) == figures(told[0])


def one_job(pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)) -> list[Job]:
    """A job that waits for `pause` between an answer and its commit."""

    async def grow(row: Row, call: Call) -> Sequence[Record]:
        await call(request(row.id))
        await pause()
        return outcome(row.id)

    return [
        Job(name="first", reads=("source",), writes="middle", row=Row, expand=each("source"), process=grow, slots=4)
    ]


@virtually
async def test_the_head_begins() -> None:
    """Workers start when the head has sealed a shard; what it has begun by then it ends: the same bytes and events."""
    with TemporaryDirectory() as name:
        told: list[list[Event]] = [[], []]
        await mill_with(dealt(Path(name) / "one"), 0, Ledger(), jobs=one_job, hook=told[0].append)
        folder, ledger = dealt(Path(name) / "many"), Ledger()
        places, sealed_at_start = WorkerPlaces(folder, ledger, jobs=one_job), list[int]()
        real = places.start

        async def start(worker: str) -> Any:
            sealed_at_start.append(seals())
            return await real(worker)

        def seals() -> int:
            return len(datasets(folder, "middle")["middle"].sealed())

        def at_head() -> list[Job]:
            return one_job(lambda: asyncio.sleep(10 if seals() else 0))

        places.start = start  # type: ignore[method-assign]
        await mill_with(folder, 2, ledger, places=places, jobs=at_head, hook=told[1].append, head_start_s=3600)
        assert contents(folder) == contents(Path(name) / "one")
        assert figures(told[1]) == figures(told[0])
        assert min(sealed_at_start) > 0
        assert set(ledger.by) == {"head", "1.1", "2.1"}
        assert ledger.paid_twice == 0


@virtually
async def test_workers_start_though_the_first_shard_takes_long() -> None:
    """The head may have its first shard for hours: others are worked on by workers meanwhile."""
    with TemporaryDirectory() as name:
        folder, ledger = dealt(Path(name) / "many"), Ledger()
        began, ended = asyncio.get_running_loop().time(), dict[int, float]()

        def hook(event: Event) -> None:
            if isinstance(event, ShardSealed):
                ended[event.shard] = asyncio.get_running_loop().time() - began

        places = WorkerPlaces(folder, ledger, jobs=one_job)
        slow = lambda: one_job(lambda: asyncio.sleep(1000))
        await mill_with(folder, 1, ledger, places=places, jobs=slow, hook=hook, head_start_s=3.0)
        assert ended[0] >= 1000
        assert ended[len(SIZES) - 1] < 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_workers_are_killed(tmp_path: Path, seed: int) -> None:
    """Workers die at requests: the same bytes, no row lost or doubled, and only what was in flight is paid again."""
    expected, ledger, random = await undisturbed(tmp_path / "one"), Ledger(), Random(seed)
    folder = dealt(tmp_path / "many")
    deaths = 0

    def dying(name: str) -> Call:
        async def call(request: Request) -> Reply:
            nonlocal deaths
            for _ in range(random.randint(0, 5)):
                await asyncio.sleep(0)
            if random.random() < 0.1 and deaths < 4:
                deaths += 1
                killing.append(asyncio.create_task(places.kill(name)))
                await asyncio.sleep(3600)
            return answer(request)

        return call

    killing: list[asyncio.Task[None]] = []
    places = WorkerPlaces(folder, ledger, call=dying)
    events: list[Event] = []
    await mill_with(folder, 2, ledger, places=places, hook=events.append)
    await asyncio.gather(*killing)
    assert deaths
    assert contents(folder) == expected
    assert ledger.paid_twice <= ledger.at_kills
    one: list[Event] = []
    await mill_with(dealt(tmp_path / "again"), 0, Ledger(), hook=one.append)
    assert figures(events) == figures(one)
    assert any(isinstance(event, Note) and "handed out again" in event.text for event in events)


@pytest.mark.parametrize("seed", range(6))
async def test_a_worker_that_is_taken_for_lost_and_goes_on(tmp_path: Path, seed: int) -> None:
    """What such a worker still does reaches nothing: the same bytes."""
    expected, ledger, random = await undisturbed(tmp_path / "one"), Ledger(), Random(seed)
    folder = dealt(tmp_path / "many")
    frozen: list[str] = []

    def freezing(name: str) -> Call:
        async def call(request: Request) -> Reply:
            for _ in range(random.randint(0, 20)):
                await asyncio.sleep(0)
            if len(frozen) < 2 and random.random() < 0.1 and name in places.alive:
                frozen.append(name)
                places.freeze(name)
            return answer(request)

        return call

    places = WorkerPlaces(folder, ledger, call=freezing)
    await mill_with(folder, 2, ledger, places=places)
    assert frozen
    await places.thaw()
    assert {name: data for name, data in contents(folder).items() if not name.endswith(".tmp")} == expected


@virtually
async def test_a_worker_that_says_nothing_is_lost() -> None:
    """After twenty seconds without a report its shards are given to another worker."""
    with TemporaryDirectory() as name:
        folder, ledger = dealt(Path(name) / "many"), Ledger()
        places = WorkerPlaces(folder, ledger)
        real, silent = places.start, []

        async def start(worker: str) -> Any:
            place = await real(worker)
            if worker == "1.1":
                beat = place.beat

                async def silence(orders: Any) -> Any:
                    if silent:
                        await asyncio.sleep(3600)
                    silent.append(worker)
                    return await beat(orders)

                async def nothing(task: Any) -> Any:
                    await asyncio.sleep(3600)

                place.beat, place.work = silence, nothing  # type: ignore[method-assign]
            return place

        places.start = start  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        await mill_with(folder, 1, ledger, places=places)
        assert silent
        assert 20 <= asyncio.get_running_loop().time() - began < 30


@virtually
async def test_orders_that_waited_for_a_frozen_worker_start_nothing() -> None:
    """When it thaws it finds orders from before: only those that follow a report of now say that the head is there."""
    alive, sent = Alive(lambda: None), list[Request]()
    worker = Worker({}, stop=Stop(), events=Events(), alive=alive)

    async def call(asked: Request) -> Reply:
        sent.append(asked)
        return answer(asked)

    await worker.beat(Orders(wait_s=0.0))
    await asyncio.sleep(QUIET_S + 1)
    asking = asyncio.create_task(alive.watched(call)(request("a")))
    await worker.beat(Orders(wait_s=0.0))
    await asyncio.sleep(1)
    assert not sent
    await worker.beat(Orders(wait_s=0.0))
    await asking
    assert len(sent) == 1
    alive.close()


async def test_a_stop_drains_the_workers(tmp_path: Path) -> None:
    """After a stop nothing more is asked, what is in flight is committed, and the next run asks for the rest."""
    expected, ledger = await undisturbed(tmp_path / "one"), Ledger()
    folder, stop = dealt(tmp_path / "many"), Stop()
    waiting = asyncio.Event()

    def slow(name: str) -> Call:
        async def call(request: Request) -> Reply:
            if ledger.asked.total() >= 10 and not stop.requested:
                stop.request()
                asyncio.get_running_loop().call_later(0.1, waiting.set)
            if ledger.asked.total() >= 10:
                await waiting.wait()
            return answer(request)

        return call

    def jobs() -> list[Job]:
        return three_jobs(slots=4)

    with pytest.raises(Stopped):
        await mill_with(
            folder,
            2,
            ledger,
            places=WorkerPlaces(folder, ledger, call=slow, jobs=jobs),
            jobs=lambda: three_jobs(ledger.owners, slots=4),
            stop=stop,
        )
    assert ledger.asked.total() < sum(SIZES)
    assert not any(ledger.in_flight.values()), "all that was asked is committed"
    await mill_with(folder, 2, ledger)
    assert contents(folder) == expected
    assert ledger.paid_twice == 0


async def test_the_head_is_killed(tmp_path: Path) -> None:
    """A lost head is a resume: the next one, with other workers, ends with the same bytes."""
    expected, ledger = await undisturbed(tmp_path / "one"), Ledger()
    folder = dealt(tmp_path / "many")
    for after in (3, 11, 25):
        places = WorkerPlaces(folder, ledger)
        running = asyncio.create_task(mill_with(folder, 2, ledger, places=places))
        while ledger.asked.total() < after and not running.done():  # noqa: ASYNC110 - each request counts
            await asyncio.sleep(0)
        for name in places.alive:
            await places.kill(name)
        ledger.kill("head")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await mill_with(folder, 3, ledger)
    assert contents(folder) == expected
    assert ledger.paid_twice <= ledger.at_kills


async def test_one_breaker_for_all_workers(tmp_path: Path) -> None:
    """The same failure at several workers in a row stops the run, as in one process."""
    folder = dealt(tmp_path / "many", [20] * 6)
    ledger, stop = Ledger(), Stop()

    async def refuse(row: Row, call: Call) -> list[Row]:
        await call(request(row.id))
        raise Permanent("the model refuses", kind="refused")

    def jobs() -> list[Job]:
        return [
            Job(
                name="first",
                reads=("source",),
                writes="middle",
                row=Row,
                expand=each("source"),
                process=refuse,
                slots=4,
            )
        ]

    with pytest.raises(Fatal, match="25 times in a row with refused"):
        await mill_with(
            folder, 3, ledger, places=WorkerPlaces(folder, ledger, jobs=jobs), jobs=jobs, stop=stop, hook=Breaker(stop)
        )
    assert SAME_FAILURES <= ledger.asked.total() < 120
    assert len(ledger.by) > 1


@pytest.mark.parametrize("error", [Fatal("the key is refused"), Permanent("odd", kind="odd"), RuntimeError("a bug")])
async def test_what_a_worker_raises_is_raised_at_the_head(tmp_path: Path, error: Exception) -> None:
    """A fatal error ends the run with its own line, a bug with its traceback; a failure is only a failure."""
    folder, ledger = dealt(tmp_path / "many"), Ledger()

    def failing(name: str) -> Call:
        async def call(request: Request) -> Reply:
            if prompt_of(request).startswith(("0", "1", "2", "3", "4")):
                raise error
            return answer(request)

        return call

    running = mill_with(folder, 2, ledger, places=WorkerPlaces(folder, ledger, call=failing))
    if isinstance(error, Permanent):
        await running
        failed = [failure for seal in datasets(folder, "middle")["middle"].seals() for failure in seal.failures]
        assert any(failure.reason == "odd" for failure in failed)
    elif isinstance(error, Fatal):
        with pytest.raises(Fatal, match="the key is refused"):
            await running
    else:
        with pytest.raises(BaseExceptionGroup) as raised:
            await running
        assert "RuntimeError: a bug" in str(raised.value.exceptions)


async def test_failures_are_tried_again(tmp_path: Path) -> None:
    """`retry` is decided at the head, and what fails once more, even at two workers, is not tried a third time."""
    folder, ledger = dealt(tmp_path / "many"), Ledger()
    await mill_with(folder, 2, ledger)
    first = [failure.id for seal in datasets(folder, "middle")["middle"].seals() for failure in seal.failures]
    odd = [
        failure.id
        for seal in datasets(folder, "middle")["middle"].seals()
        for failure in seal.failures
        if failure.kind == "odd"
    ]
    assert odd
    again = Ledger()
    await mill_with(folder, 2, again, retry=lambda job, failure: failure.kind == "odd")
    assert {key.split()[1] for key in again.asked if key.startswith("first")} == set(odd)
    assert again.paid_twice == 0
    after = [failure.id for seal in datasets(folder, "middle")["middle"].seals() for failure in seal.failures]
    assert after == first


async def test_a_shard_that_workers_are_lost_with(tmp_path: Path) -> None:
    """Where every worker dies of the same record, the run ends and says with which shard."""
    folder, ledger = dealt(tmp_path / "many", [3]), Ledger()
    killing: list[asyncio.Task[None]] = []

    def deadly(name: str) -> Call:
        async def call(request: Request) -> Reply:
            killing.append(asyncio.create_task(places.kill(name)))
            await asyncio.sleep(3600)
            return answer(request)

        return call

    places = WorkerPlaces(folder, ledger, call=deadly)
    with pytest.raises(Fatal, match="5 workers were lost one after the other while they worked on shard 0 of first"):
        await mill_with(folder, 1, ledger, places=places)
    await asyncio.gather(*killing)


@pytest.mark.parametrize("error", [Fatal("the log cannot be written: the disk is full"), ValueError("a bug in a hook")])
async def test_what_goes_wrong_while_a_worker_is_heard_ends_the_run(tmp_path: Path, error: Exception) -> None:
    """An error of a hook is raised at the end and does not leave the workers unheard."""
    folder, ledger = dealt(tmp_path / "many", [60] * 4), Ledger()

    def hook(event: Event) -> None:
        if isinstance(event, InputFailed):
            raise error

    with pytest.raises((type(error), Fatal, BaseExceptionGroup), match=r"disk is full|a bug in a hook|unhandled"):
        async with asyncio.timeout(60):
            await mill_with(folder, 2, ledger, places=WorkerPlaces(folder, ledger), hook=hook)
