from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fake_disk import Books, Disk, Row, contents, datasets, deal, grow, kill_at, virtually
from scripted_batches import Provider, killing, work

from engine.batches.policy import BatchPolicy
from engine.batches.record import read_records
from engine.budget import Budget
from engine.errors import Fatal, Permanent
from engine.events import BatchChanged, Event, InputFailed, Note
from engine.job import Job
from engine.prices import Price
from engine.requests import Call, Usage
from engine.runner import run
from engine.signals import Stop, Stopped
from engine.virtualtime import run_virtual

pytestmark = pytest.mark.slow  # a provider's days, and kills at every request: fifteen seconds

SIZES = [5, 0, 9, 1, 3]


class Again(Books):
    """Books of records that are processed again for each batch that they stand in."""

    def begin(self, id_: str) -> None:
        assert id_ not in self.committed, "a committed input is processed again"
        self.processed[id_] += 1


async def drop_some(rows: Sequence[Row]) -> dict[str, Permanent]:
    return {row.parent: Permanent("dull", kind="dull") for row in rows if len(row.text) == 40}


def chain(books: Books, **settings: Any) -> list[Job]:
    """Three jobs, each of which follows the one before; the second reviews its rows."""
    return [
        grow("first", reads="source", writes="middle", books=books, **settings),
        grow("second", reads="middle", writes="end", books=books, review=drop_some, **settings),
        grow("third", reads="end", writes="last", books=books, **settings),
    ]


def fresh(path: Path, sizes: Sequence[int] = SIZES) -> Path:
    path.mkdir()
    deal(path, sizes)
    return path


def expected(path: Path, sizes: Sequence[int] = SIZES) -> dict[str, bytes]:
    """What the run makes that asks each request by itself."""
    folder, books, provider = fresh(path, sizes), Again(), Provider()

    async def online() -> None:
        pipeline = chain(books)
        from fake_disk import names, shuffled

        found = datasets(folder, *names(pipeline))
        await run(pipeline, found, shuffled(0), stop=Stop(), hook=books.hook)

    asyncio.run(online())
    assert not provider.paid
    return made(folder)


def made(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if not name.startswith("batches/")}


def life(folder: Path, body: Callable[[], Coroutine[Any, Any, None]], disk: Disk | None = None) -> bool:
    """One life of a process in virtual time; returns whether it was killed."""
    disk = disk or Disk(folder)
    killed = False
    with disk.mounted():
        try:
            run_virtual(body())
        except BaseException as error:
            killed = disk.dead or _is_killed(error)
            if not killed:
                raise
    return killed


def _is_killed(error: BaseException) -> bool:
    inner = getattr(error, "exceptions", (error,))
    return any(type(each).__name__ == "Killed" or (each is not error and _is_killed(each)) for each in inner)


def test_the_bytes_of_the_online_run(tmp_path: Path) -> None:
    """Jobs that follow each other shard by shard, each with its own batches, make the bytes that the online run makes."""
    want = expected(tmp_path / "online")
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider()
    run_virtual(work(folder, provider, chain(books), books))
    assert made(folder) == want
    assert provider.paid_twice == 0
    assert not provider.online
    assert len(provider.paid) == len(books.committed)
    assert [record.state for record in read_records(folder / "batches")] == ["ended"] * len(provider.batches)
    assert {path.suffix for path in (folder / "batches").iterdir()} <= {".json", ".jsonl"}
    assert not list((folder / "batches").glob("*.re*"))  # neither requests nor results are left


FAULTS: dict[str, dict[str, Any]] = {
    "rows expire and fail": {"expires": 0.3, "fails": 0.1},
    "answers to creations are lost": {"loses_answer": lambda number: number % 2 == 0},
    "the queue is full": {"queue": 4},
    "the queue is full, as a failed batch says": {"queue": 4, "queue_late": True},
    "batches vanish": {"vanishes": lambda number: number % 3 == 1},
    "files of requests vanish": {"loses_input": lambda number: number % 2 == 0},
    "rows are answered twice in one file": {"twice": True},
    "rows are refused": {"refuses": 0.3},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path: Path, fault: str) -> None:
    """Whatever happens to batches, all records are finished, and none that had succeeded is asked again."""
    want = expected(tmp_path / "online")
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider(**FAULTS[fault])
    run_virtual(work(folder, provider, chain(books), books, policy=BatchPolicy(rounds=20)))
    assert provider.paid_twice == 0
    if fault != "rows are refused":
        assert made(folder) == want
        assert not provider.online
    else:
        assert any(b"refused" in data for data in made(folder).values())


def test_lost_results(tmp_path: Path) -> None:
    """Rows whose file of results has vanished are sent again, which one line says."""
    want = expected(tmp_path / "online")
    folder, books = fresh(tmp_path / "run"), Again()
    provider, notes = Provider(loses_output=lambda number: number == 0), list[str]()
    run_virtual(work(folder, provider, chain(books), books, hook=lambda event: notes.extend(text_of(event))))
    assert made(folder) == want
    assert provider.paid_twice == len(provider.batches["batch-0"].rows)
    assert [note for note in notes if "results have vanished" in note]


def text_of(event: Event) -> list[str]:
    return [event.text] if isinstance(event, Note) else []


def test_stragglers_go_online(tmp_path: Path) -> None:
    """A request whose row fails in every batch is sent by itself after the rounds."""
    want = expected(tmp_path / "online")
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider(fails=1.0)
    run_virtual(work(folder, provider, chain(books), books, policy=BatchPolicy(rounds=2)))
    assert made(folder) == want
    assert not provider.paid
    assert set(provider.online.values()) == {1}
    rows = Counter(id_ for batch in provider.batches.values() for id_, _ in batch.rows)
    assert set(rows.values()) == {2}


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("lag_s", [0.0, 90.0])
def test_killed_at_every_request(tmp_path: Path, lag_s: float, step: int) -> None:
    """Killed before and after requests to the provider, each of them in a soak, and started again: the same bytes, and
    nothing paid twice."""
    want = expected(tmp_path / "online")
    number, killed = 0, True
    while killed:
        folder, books, provider = fresh(tmp_path / f"{lag_s} {number}"), Again(), Provider(lag_s=lag_s)
        provider.at = killing(number)
        killed = life(folder, lambda f=folder, b=books, p=provider: work(f, p, chain(b), b))
        provider.at = lambda step: None
        provider.began += 1.0
        life(folder, lambda f=folder, b=books, p=provider: work(f, p, chain(b), b))
        assert made(folder) == want
        assert provider.paid_twice == 0
        assert not provider.online
        number += step
    assert number > 25


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("power_cut", [False, True])
def test_killed_at_every_operation(tmp_path: Path, power_cut: bool, step: int) -> None:
    """Killed at operations on the disk, each of them in a soak: the same bytes, and nothing paid twice."""
    sizes = [2, 0, 4]
    want = expected(tmp_path / "online", sizes)
    number, killed = 0, True
    while killed:
        folder, books, provider = fresh(tmp_path / str(number), sizes), Again(), Provider()
        disk = Disk(folder, kill_at(number))
        killed = life(folder, lambda f=folder, b=books, p=provider: work(f, p, chain(b), b), disk)
        if power_cut and killed:
            disk.crash(Random(number))
        provider.began += 1000.0
        books.committed.clear()  # what was committed at the kill need not have been told
        life(folder, lambda f=folder, b=books, p=provider: work(f, p, chain(b), b))
        assert made(folder) == want, number
        assert provider.paid_twice == 0, number
        number += step
    assert number > 100


def test_stopped_with_batches_left_running(tmp_path: Path) -> None:
    """A stop ends the run at once; the next run fetches what was left, and asks for nothing twice."""
    want = expected(tmp_path / "online")
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider(run_s=10_000)

    async def stopped() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()
        loop.call_later(300, stop.request)
        with pytest.raises(Stopped):
            await work(folder, provider, chain(books), books, stop=stop)
        assert loop.time() < 310

    run_virtual(stopped())
    assert not books.committed
    assert provider.batches
    provider.began += 20_000
    processed = sum(books.processed.values())
    run_virtual(work(folder, provider, chain(books), books))
    assert made(folder) == want
    assert provider.paid_twice == 0
    first = len([id_ for id_ in books.processed if id_.startswith("first ")])
    assert processed == first  # what waits is not even looked at before its answers have come
    assert all(count == 2 for id_, count in books.processed.items() if id_.startswith("first "))


def test_another_account(tmp_path: Path) -> None:
    """Batches of another key are refused in one line, and are still there for the right one."""
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider()
    provider.at = killing(3)
    assert life(folder, lambda: work(folder, provider, chain(books), books))
    provider.at, provider.account = (lambda step: None), "another"
    with pytest.raises(Fatal, match=r"another key or address of \[models.generator\]"):
        run_virtual(work(folder, provider, chain(books), books))
    provider.account = "mine"
    run_virtual(work(folder, provider, chain(books), books))
    assert provider.paid_twice == 0


def test_batches_that_all_fail(tmp_path: Path) -> None:
    """Where the provider fails each batch as a whole, the run ends with its reason, and asks nothing online."""
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider(all_fail="model has no batches")
    with pytest.raises(Fatal, match="model has no batches"):
        run_virtual(work(folder, provider, chain(books), books, policy=BatchPolicy(rounds=5)))
    assert not provider.online


def test_rows_bound_a_batch(tmp_path: Path) -> None:
    """No batch has more rows than it may have; equal prompts of two records have rows of their own."""
    folder, books, provider = fresh(tmp_path / "run", [10, 10]), Again(), Provider()
    run_virtual(work(folder, provider, chain(books)[:1], books, policy=BatchPolicy(rows=4)))
    assert max(len(batch.rows) for batch in provider.batches.values()) == 4
    assert len(provider.batches) == 5


def test_what_failed_is_asked_again_by_retry(tmp_path: Path) -> None:
    """A record that was refused in a batch is asked again where it is retried, once, and not answered from before."""
    folder, books, provider = fresh(tmp_path / "run", [30]), Again(), Provider(refuses=0.4)
    failed: list[str] = []

    def hook(event: Event) -> None:
        if isinstance(event, InputFailed) and event.kind == "refused":
            failed.append(event.id)

    run_virtual(work(folder, provider, chain(books)[:1], books, hook=hook))
    first = len(failed)
    assert first
    books.committed.clear()
    run_virtual(
        work(folder, provider, chain(books)[:1], books, hook=hook, retry=lambda job, failure: failure.kind == "refused")
    )
    assert len(failed) == 2 * first
    provider.refuses = 0.0
    books.committed.clear()
    run_virtual(
        work(folder, provider, chain(books)[:1], books, hook=hook, retry=lambda job, failure: failure.kind == "refused")
    )
    assert len(failed) == 2 * first
    assert provider.paid_twice == 0


def test_the_cap_holds_with_live_batches(tmp_path: Path) -> None:
    """What was paid stays below the cap through a kill with live batches, which are reserved again; no row is lost."""
    price = Price(input_usd_per_million=200_000, output_usd_per_million=0)  # the first estimate is what `answer` costs
    policy = BatchPolicy(rows=4, price=price)
    for kill in (6, 9, 12, 15):
        folder, books, provider = fresh(tmp_path / str(kill), [12, 12]), Again(), Provider()
        cap = 12 * 3.2
        provider.at = killing(kill)
        capped = Budget(usd=cap)
        life(
            folder, lambda f=folder, b=books, p=provider, c=capped: work(f, p, chain(b)[:1], b, policy=policy, budget=c)
        )
        provider.at = lambda step: None
        spent = datasets(folder, "middle")["middle"].usage()
        again = Budget(usd=cap, spent=spent)
        with pytest.raises(Fatal, match="budget"):
            run_virtual(work(folder, provider, chain(books)[:1], books, policy=policy, budget=again))
        assert 3.2 * len(provider.paid) <= cap + 1e-6
        assert len(provider.paid) >= 5
        run_virtual(work(folder, provider, chain(books)[:1], books, policy=policy))
        assert len(provider.paid) == 24
        assert provider.paid_twice == 0


def test_events(tmp_path: Path) -> None:
    """Each batch says that it is meant, uploaded, submitted and ended, in that order."""
    folder, books, provider, seen = fresh(tmp_path / "run", [3]), Again(), Provider(), list[str]()

    def hook(event: Event) -> None:
        if isinstance(event, BatchChanged) and event.state not in seen[-1:]:
            seen.append(event.state)

    run_virtual(work(folder, provider, chain(books)[:1], books, hook=hook))
    assert seen == ["meant", "uploaded", "submitted", "ended"]


def test_a_deferred_record_costs_no_memory(tmp_path: Path) -> None:
    """With everything deferred, what is in memory does not grow with the records, but with shards and batches."""

    def memory(size: int) -> int:
        folder, books, provider = fresh(tmp_path / str(size), [size] * 12), Again(), Provider(run_s=10_000)
        counted = 0

        async def counting() -> None:
            nonlocal counted
            stop = Stop()

            def count() -> None:
                nonlocal counted
                gc.collect()
                books.processed.clear()
                for batch in provider.batches.values():
                    batch.rows.clear()
                provider.files.clear()
                counted = tracemalloc.get_traced_memory()[0]
                stop.request()

            asyncio.get_running_loop().call_later(500, count)
            with pytest.raises(Stopped):
                await work(folder, provider, chain(books)[:1], books, stop=stop)
            assert len(provider.batches) == 1

        run_virtual(counting())
        return counted

    memory(9)
    tracemalloc.start()
    try:
        few, many = memory(10), memory(500)
    finally:
        tracemalloc.stop()
    assert many - few < 40 * 12 * 490, (few, many)  # an id alone has 81 bytes


@virtually
async def test_usage_is_counted_once(tmp_path: Path) -> None:
    """What a shard says that it has cost is what was paid, through all its openings."""
    folder, books, provider = fresh(tmp_path / "run"), Again(), Provider(expires=0.5)
    await work(folder, provider, chain(books)[:1], books, policy=BatchPolicy(rounds=30))
    usage = datasets(folder, "middle")["middle"].usage()
    assert usage.requests == sum(provider.paid.values())
    assert usage == Usage(
        requests=usage.requests,
        prompt_tokens=32 * usage.requests,
        completion_tokens=3 * usage.requests,
        cost_usd=usage.cost_usd,
    )


def test_a_shard_that_was_not_fed_to_its_end(tmp_path: Path) -> None:
    """Where a stop came in the middle of a shard, the next run asks for its rest at once, while the first rows wait."""
    folder, books, provider, stop = fresh(tmp_path / "run", [20]), Again(), Provider(run_s=10_000), Stop()
    policy = BatchPolicy(rows=4)
    slow, begun = grow("first", reads="source", writes="middle", books=books, slots=1), 0

    async def process(row: Any, call: Call) -> Any:
        nonlocal begun
        begun += 1
        if begun == 10:
            stop.request()
        return await slow.process(row, call)

    async def first() -> None:
        with pytest.raises(Stopped):
            await work(folder, provider, [replace(slow, process=process)], books, policy=policy, stop=stop)

    run_virtual(first())
    assert len(read_records(folder / "batches")) < 5
    run_virtual(work(folder, provider, [slow], books, policy=policy))
    assert provider.paid_twice == 0
    assert len(provider.paid) == 20
    times = [batch.made_at for batch in provider.batches.values()]
    assert max(times) - min(times) < 1000
