from __future__ import annotations

import asyncio
import errno
import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import msgspec
import pytest
from fake_disk import Books, Disk, Fault, Row, contents, full_from, kill_at, live, virtually
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Fatal
from engine.failed_replies import read_replies
from engine.records import decode_lines, encode
from engine.requests import Usage
from engine.shards import Entry, Failure, Seal, Shard, total
from engine.writers import GATHER_MOST_S, GATHER_S, ShardWriter

Outcomes = Mapping[str, list[bytes] | Failure]
"""What becomes of each input, by its id, in order of the inputs: its rows, or why there are none."""


def lines(id_: str, sizes: Sequence[int]) -> list[bytes]:
    return [encode(Row(id=f"{id_}.{number}", parent=id_, text="ä" + "x" * size)) for number, size in enumerate(sizes)]


def some_outcomes(count: int, seed: int = 0) -> Outcomes:
    random = Random(seed)
    outcomes: dict[str, list[bytes] | Failure] = {}
    for number in range(count):
        id_ = f"input{number}"
        failed = number % 5 == 3
        sizes = [random.choice([0, 9, 5000]) for _ in range(number % 4)]
        outcomes[id_] = Failure(kind="flaky", reason=f"nò {number}") if failed else lines(id_, sizes)
    return outcomes


@dataclass
class Work:
    """What one process does with a shard: take it up, finish what is unfinished, in an order of its own, and seal it."""

    folder: Path
    outcomes: Outcomes
    books: Books = field(default_factory=Books)
    order_seed: int = 0
    source: str = ""
    again: str = "none"  # the kind of failure that is done again

    async def __call__(self) -> None:
        shard = Shard(self.folder, 0)
        seal = await asyncio.to_thread(shard.settle)
        if seal is not None:
            if seal.source == self.source and not any(map(self._again, seal.failures)):
                return
            await asyncio.to_thread(shard.reopen, Row, lambda row: row.parent, self._again)
        random = Random(self.order_seed)
        order = {id_: position for position, id_ in enumerate(self.outcomes)}
        async with ShardWriter(shard) as writer:
            async with asyncio.TaskGroup() as tasks:
                for id_ in self.outcomes:
                    if id_ not in writer.finished:
                        tasks.create_task(self._one(writer, id_, order[id_], random.randint(0, 30)))
            await writer.seal(order, source=self.source, dropped={})

    async def _one(self, writer: ShardWriter, id_: str, position: int, turns: int) -> None:
        self.books.begin(id_)
        for _ in range(turns):
            await asyncio.sleep(0)
        made = self.outcomes[id_]
        failure = made if isinstance(made, Failure) else None
        usage = Usage(requests=1, prompt_tokens=7 + position, completion_tokens=2, cost_usd=0.1 + position * 1e-7)
        reply = f"{id_} säid" if failure and failure.kind == "flaky" else ""
        entry = Entry(id=id_, position=position, end=0, usage=usage, error=failure, reply=reply)
        await writer.append(entry, made if isinstance(made, list) else [])
        self.books.commit(id_)

    def _again(self, failure: Failure) -> bool:
        return failure.kind == self.again

    def undisturbed(self) -> dict[str, bytes]:
        live(Disk(self.folder), self)
        return contents(self.folder)

    def through(self, faults: Iterator[Fault], random: Random, *, power_cut: bool = True) -> dict[str, bytes]:
        """Live under one fault after another, then without one; returns the final bytes."""
        for fault in faults:
            disk = Disk(self.folder, fault)
            self.order_seed = random.randint(0, 1 << 32)
            if not live(disk, self):
                break
            self.books.kill()
            if power_cut:
                disk.crash(random)
        final = self.undisturbed()
        self.books.check()
        return final


def operations(work: Work) -> list[str]:
    """The durable operations of an undisturbed life, carried out."""
    disk = Disk(work.folder)
    live(disk, work)
    return disk.operations


def folder(path: Path, name: str) -> Path:
    made = path / name
    made.mkdir()
    return made


# Killed at every operation, with what was not synced lost.


@pytest.mark.slow
@pytest.mark.parametrize("power_cut", [False, True], ids=["process killed", "power cut"])
def test_killed_at_every_operation(tmp_path: Path, power_cut: bool) -> None:
    """Wherever the process dies, the next one ends with the bytes of an undisturbed run, and asks only what was lost."""
    work = Work(folder(tmp_path, "whole"), some_outcomes(9))
    expected = work.undisturbed()
    count = len(operations(Work(folder(tmp_path, "counted"), some_outcomes(9))))
    assert count > 20
    for number in range(count + 1):
        for seed in range(3 if power_cut else 1):
            again = Work(folder(tmp_path, f"{number} {seed}"), work.outcomes)
            assert again.through(iter([kill_at(number)]), Random(seed), power_cut=power_cut) == expected


@pytest.mark.slow
def test_killed_at_every_operation_of_a_reopening(tmp_path: Path) -> None:
    """A shard opened again, with more inputs and failures to do again, has a safe state at each operation."""
    first, second = some_outcomes(7), grown(some_outcomes(7))
    expected: dict[str, bytes] = {}
    number = 0
    while True:
        place = folder(tmp_path, str(number))
        Work(place, first).undisturbed()
        books = Books()
        again = Work(place, second, books, source="second", again="flaky")
        if number == 0:
            expected = again.undisturbed()
            assert sum(books.processed.values()) == 3 + sum(isinstance(made, Failure) for made in first.values())
        else:
            disk = Disk(place, kill_at(number - 1))
            killed = live(disk, again)
            books.kill()
            disk.crash(Random(number))
            assert again.undisturbed() == expected
            books.check()
            if not killed:
                break
        number += 1
    assert number > 25


def grown(outcomes: Outcomes) -> dict[str, list[bytes] | Failure]:
    """The same inputs with three more between them, and every failure mended."""
    mended = {id_: lines(id_, [3]) if isinstance(made, Failure) else made for id_, made in outcomes.items()}
    new: dict[str, list[bytes] | Failure] = {
        "new first": lines("new first", [1, 2]),
        "new empty": [],
        "new failed": Failure(kind="bad", reason="bad"),
    }
    ids = list(mended)
    return {"new first": new.pop("new first")} | {id_: mended[id_] for id_ in ids[:3]} | new | mended


# Properties.

rows_or_failure = st.one_of(
    st.lists(st.sampled_from([0, 1, 70, 5000, 70_000]), max_size=3),
    st.builds(lambda kind: Failure(kind=kind, reason="no ü"), st.sampled_from(["flaky", "bad"])),
)
drawn = st.lists(rows_or_failure, max_size=12)
kills = st.lists(st.integers(0, 40), max_size=5)


def named(outcomes: Sequence[list[int] | Failure]) -> Outcomes:
    return {
        f"i{number}": made if isinstance(made, Failure) else lines(f"i{number}", made)
        for number, made in enumerate(outcomes)
    }


@pytest.mark.slow
@settings(max_examples=60)
@given(drawn, kills, st.integers(0, 1 << 32))
def test_any_order_any_kills(outcomes: Sequence[list[int] | Failure], kills: list[int], seed: int) -> None:
    """For any rows, any order of completion and any sequence of kills, the final bytes are the same."""
    with TemporaryDirectory() as name:
        place, random = Path(name), Random(seed)
        expected = Work(folder(place, "whole"), named(outcomes)).undisturbed()
        work = Work(folder(place, "killed"), named(outcomes))
        assert work.through(map(kill_at, kills), random) == expected


@pytest.mark.slow
@settings(max_examples=60)
@given(drawn, drawn, kills, kills, st.integers(0, 1 << 32))
def test_any_reopening_any_kills(
    old: Sequence[list[int] | Failure],
    new: Sequence[list[int] | Failure],
    first_kills: list[int],
    second_kills: list[int],
    seed: int,
) -> None:
    """A shard sealed, then opened again with other inputs and with failures to do again, survives any kills as well."""
    first = named(old)
    fresh = {
        f"new {id_}": made if isinstance(made, Failure) else lines(f"new {id_}", [1])
        for id_, made in named(new).items()
    }
    kept = {id_: made for id_, made in first.items() if len(id_) % 2 == 0 or isinstance(made, Failure)}
    mended: Outcomes = {
        id_: lines(id_, [5]) if isinstance(made, Failure) and made.kind == "flaky" else made
        for id_, made in (fresh | kept).items()
    }
    with TemporaryDirectory() as name:
        place, random = Path(name), Random(seed)
        whole, killed = folder(place, "whole"), folder(place, "killed")
        Work(whole, first).undisturbed()
        expected = Work(whole, mended, source="second", again="flaky").undisturbed()
        Work(killed, first).through(map(kill_at, first_kills), random)
        second = Work(killed, mended, source="second", again="flaky")
        assert second.through(map(kill_at, second_kills), random) == expected
        asked = {
            id_
            for id_ in mended
            if id_ not in first or (isinstance(first[id_], Failure) and first[id_].kind == "flaky")
        }
        assert set(second.books.processed) == asked


@settings(max_examples=30)
@given(drawn, st.permutations(range(12)))
def test_sorted_by_input(outcomes: Sequence[list[int] | Failure], order: Sequence[int]) -> None:
    """Rows and failures stand in the order of the inputs, whatever the order in which they were finished."""
    made = named(outcomes)
    with TemporaryDirectory() as name:
        shard = Shard(Path(name), 0)

        async def write() -> Seal:
            async with ShardWriter(shard) as writer:
                for number in order:
                    if number < len(made):
                        outcome = made[f"i{number}"]
                        error = outcome if isinstance(outcome, Failure) else None
                        entry = Entry(id=f"i{number}", position=number, end=0, error=error)
                        await writer.append(entry, outcome if isinstance(outcome, list) else [])
                return await writer.seal({id_: place for place, id_ in enumerate(made)}, source="", dropped={})

        seal = asyncio.run(write())
        expected = b"".join(row for rows in made.values() if isinstance(rows, list) for row in rows)
        assert shard.data.read_bytes() == expected
        assert (seal.bytes, seal.sha256) == (len(expected), sha256(expected).hexdigest())
        assert seal.inputs == len(made)
        assert [failed.id for failed in seal.failures] == [
            id_ for id_, rows in made.items() if isinstance(rows, Failure)
        ]
        assert seal.empty == [id_ for id_, rows in made.items() if rows == []]


# One shard, by hand.


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path, 0)


def entry(number: int, error: Failure | None = None, usage: Usage | None = None) -> Entry:
    return Entry(id=f"input{number}", position=number, end=0, error=error, usage=usage or Usage(requests=1))


def row(number: int, text: str = "") -> bytes:
    return encode(Row(id=f"row{number}", parent=f"input{number}", text=text))


async def sealed(shard: Shard, count: int = 3) -> Seal:
    async with ShardWriter(shard) as writer:
        for number in range(count):
            await writer.append(entry(number), [row(number)])
        return await writer.seal(places(count), source="s", dropped={})


def places(count: int) -> dict[str, int]:
    return {f"input{number}": number for number in range(count)}


async def opened(shard: Shard, count: int = 3) -> None:
    """The files of a shard that is left open."""
    async with ShardWriter(shard) as writer:
        for number in range(count):
            await writer.append(entry(number), [row(number, "x" * 50)])


async def test_commit_is_on_disk(shard: Shard) -> None:
    """When `append` returns, the rows and their checkpoint line are in the files, in this order of syncs."""
    disk = Disk(shard.data.parent)
    with disk.mounted():
        async with ShardWriter(shard) as writer:
            before = len(disk.operations)
            await writer.append(entry(0), [row(0), row(1)])
            assert disk.operations[before:] == ["write", "fdatasync", "write", "fdatasync"]
            assert shard.data.read_bytes() == row(0) + row(1)
            line = msgspec.json.decode(shard.checkpoint.read_bytes(), type=Entry)
    assert (line.id, line.rows, line.end) == ("input0", 2, len(row(0) + row(1)))


async def test_commits_are_grouped(shard: Shard) -> None:
    """What arrives while a batch is being written goes into one next batch, not into one for each."""
    disk = Disk(shard.data.parent)
    with disk.mounted():
        async with ShardWriter(shard) as writer:
            before = len(disk.operations)
            async with asyncio.TaskGroup() as tasks:
                for number in range(50):
                    tasks.create_task(writer.append(entry(number), [row(number)]))
            assert len(disk.operations) - before <= 8
        assert {line.id for line in shard.entries()} == {f"input{number}" for number in range(50)}


async def test_short_writes(shard: Shard) -> None:
    """A system call that writes less than it was given is called again until all is written."""
    disk = Disk(shard.data.parent, short_writes=7)
    with disk.mounted():
        await opened(shard, 2)
    assert shard.data.read_bytes() == row(0, "x" * 50) + row(1, "x" * 50)


async def test_no_fsync_on_the_event_loop(shard: Shard) -> None:
    """Opening, committing, sealing and opening again do all of their work on the disk in threads."""
    disk = Disk(shard.data.parent)
    with disk.mounted():
        os.fsync(os.open(shard.data.parent, os.O_RDONLY))
        assert disk.on_loop_thread == ["fsync"], "the detector detects"
        disk.on_loop_thread.clear()
        await sealed(shard)
        await asyncio.to_thread(shard.reopen, Row, lambda row: row.parent)
        await sealed(shard)
    assert disk.on_loop_thread == []


async def test_torn_checkpoint_line(shard: Shard) -> None:
    """A last checkpoint line without its line feed is dropped, and the rows that it would have promised."""
    await opened(shard, 3)
    whole = shard.checkpoint.read_bytes()
    shard.checkpoint.write_bytes(whole[:-1])
    assert [line.id for line in shard.entries()] == ["input0", "input1"]
    assert shard.data.read_bytes() == row(0, "x" * 50) + row(1, "x" * 50)
    assert shard.checkpoint.read_bytes() == b"".join(whole.splitlines(keepends=True)[:2])


async def test_rows_of_unknown_inputs_go(shard: Shard) -> None:
    """Inputs that are no longer there are left out of the seal, but what they cost is not forgotten."""
    async with ShardWriter(shard) as writer:
        for number in range(3):
            await writer.append(entry(number), [row(number)])
        seal = await writer.seal({"input2": 0, "input0": 1}, source="", dropped={})
    assert shard.data.read_bytes() == row(2) + row(0)
    assert (seal.inputs, seal.rows, seal.usage.requests) == (2, 2, 3)


async def test_dropped_inputs_are_failures(shard: Shard) -> None:
    """Rows that a review refused are left out, and counted as failures with its reason."""
    async with ShardWriter(shard) as writer:
        for number in range(3):
            await writer.append(entry(number), [row(number)])
        refused = {"input1": Failure(kind="duplicate", reason="as row 0")}
        seal = await writer.seal(places(3), source="", dropped=refused)
    assert shard.data.read_bytes() == row(0) + row(2)
    assert [(failed.id, failed.kind, failed.reason) for failed in seal.failures] == [
        ("input1", "duplicate", "as row 0")
    ]


async def test_a_failure_done_again_in_an_open_shard(shard: Shard) -> None:
    """Of an input that failed and was done again the later outcome counts, and both are paid for."""
    async with ShardWriter(shard) as writer:
        await writer.append(entry(0, Failure(kind="flaky", reason="no")))
        await writer.append(entry(1), [row(1)])
        await writer.append(entry(0), [row(0)])
        seal = await writer.seal(places(2), source="", dropped={})
    assert shard.data.read_bytes() == row(0) + row(1)
    assert (seal.failures, seal.usage.requests) == ([], 3)


async def test_what_was_answered_to_failed_inputs(shard: Shard) -> None:
    """It stands beside the sealed shard in the order of the inputs, outlives a reopening, and goes with the failure."""
    failure = Failure(kind="flaky", reason="no")
    async with ShardWriter(shard) as writer:
        for number in (2, 1, 0):
            await writer.append(msgspec.structs.replace(entry(number, failure), reply=f"said {number}"))
        await writer.append(entry(3, failure))
        seal = await writer.seal(places(4), source="", dropped={})
    assert list(read_replies(shard.replies).items()) == [(f"input{number}", f"said {number}") for number in range(3)]
    assert b"said" not in shard.done.read_bytes()
    whole = shard.replies.read_bytes()
    shard.reopen(Row, lambda row: row.parent)
    async with ShardWriter(shard) as writer:
        assert await writer.seal(places(4), source="", dropped={}) == seal
    assert shard.replies.read_bytes() == whole
    shard.reopen(Row, lambda row: row.parent, lambda failed: failed.kind == "flaky")
    await sealed(shard)
    assert not shard.replies.exists()
    shard.replies.write_bytes(b"{")
    assert read_replies(shard.replies) == {}, "a damaged file costs the replies only"


async def test_former_inputs_are_counted_apart(shard: Shard) -> None:
    """The last inputs of the order, if they are kept, are none of the inputs; their rows stand behind all others."""
    async with ShardWriter(shard) as writer:
        for number in (2, 0, 1):
            await writer.append(entry(number), [row(number)])
        seal = await writer.seal(places(3), source="", dropped={}, kept=1)
    assert (seal.inputs, seal.rows, seal.kept) == (2, 3, 1)
    assert shard.data.read_bytes() == row(0) + row(1) + row(2)


async def test_reopen_fails_inputs_with_flawed_rows(shard: Shard) -> None:
    """Each input with a row that is found flawed is a failure once, its rows are gone, and what it cost stays."""
    await sealed(shard, 5)
    flaws = {"row1": "first", "row3": "second"}

    def flaw(row: Row) -> Failure | None:
        return Failure(kind="flawed", reason=flaws[row.id]) if row.id in flaws else None

    shard.reopen(Row, lambda row: row.parent, flaw=flaw)
    assert [(line.id, line.position, line.end, line.error is None) for line in shard.entries()][-2:] == [
        ("input1", -1, shard.data.stat().st_size, False),
        ("input3", -1, shard.data.stat().st_size, False),
    ]
    async with ShardWriter(shard) as writer:
        seal = await writer.seal(places(5), source="", dropped={})
    assert shard.data.read_bytes() == row(0) + row(2) + row(4)
    assert [(failed.id, failed.kind, failed.reason) for failed in seal.failures] == [
        ("input1", "flawed", "first"),
        ("input3", "flawed", "second"),
    ]
    assert seal.usage == Usage(requests=5)


async def test_an_input_with_two_flawed_rows_failed_once(shard: Shard) -> None:
    """Of the flaws in its rows the first is its failure, and it counts as one."""
    async with ShardWriter(shard) as writer:
        await writer.append(entry(0), [row(0, "first"), row(0, "second")])
        await writer.seal(places(1), source="", dropped={})
    shard.reopen(Row, lambda row: row.parent, flaw=lambda row: Failure(kind="flawed", reason=row.text))
    async with ShardWriter(shard) as writer:
        assert writer.failures() == {"input0": 1}
        seal = await writer.seal(places(1), source="", dropped={})
    assert [failed.reason for failed in seal.failures] == ["first"]


async def test_reopen_keeps_inputs_without_rows(shard: Shard) -> None:
    """An input that made no rows is finished too: it is not asked again, and the rows of others stay as they are."""
    async with ShardWriter(shard) as writer:
        await writer.append(entry(0), [row(0)])
        await writer.append(entry(1), [])
        seal = await writer.seal(places(2), source="above", dropped={})
    assert (seal.empty, seal.source) == (["input1"], "above")
    shard.reopen(Row, lambda row: row.parent)
    async with ShardWriter(shard) as writer:
        assert set(writer.finished) >= {"input0", "input1"}
        assert await writer.seal(places(2), source="above", dropped={}) == seal
    assert shard.data.read_bytes() == row(0)


async def test_reopen_keeps_the_cost(shard: Shard) -> None:
    """What was paid before a shard was opened again is in its next seal, once; it stands in the journal as no input's."""
    await sealed(shard, 3)
    for _ in range(2):
        shard.reopen(Row, lambda row: row.parent)
        assert {line.id for line in shard.peek()} <= {"", *places(3)}
        seal = await sealed(shard, 0)
        shard.reopen(Row, lambda row: row.parent)
        async with ShardWriter(shard) as writer:
            seal = await writer.seal(places(3), source="", dropped={})
    assert seal.usage == Usage(requests=3)


@given(st.lists(st.floats(0, 10), max_size=20), st.randoms(use_true_random=False))
def test_total_does_not_depend_on_the_order(dollars: list[float], random: Random) -> None:
    """The same usages give the same sum in any order, to the last bit."""
    usages = [Usage(requests=1, prompt_tokens=2, completion_tokens=3, cost_usd=cost) for cost in dollars]
    shuffled = random.sample(usages, len(usages))
    assert total(usages) == total(shuffled)
    assert total(usages).completion_tokens == 3 * len(usages)


def test_a_total_has_every_kind_of_token() -> None:
    """Each count of a usage is summed by itself, and dollars to a billionth."""
    one = Usage(requests=1, prompt_tokens=20, completion_tokens=30, cost_usd=0.1, cached=4, cache_write=5, reasoning=6)
    both = Usage(
        requests=2, prompt_tokens=40, completion_tokens=60, cost_usd=0.2, cached=8, cache_write=10, reasoning=12
    )
    assert total([one, one]) == both
    assert total([Usage(cost_usd=1.4e-9)]).cost_usd == 1e-9


async def test_cancelled_append_does_not_hold_up_others(shard: Shard) -> None:
    """When the task that would write a batch is cancelled while it waits, another one of the batch writes it."""
    async with ShardWriter(shard) as writer:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.append(entry(0), [row(0)]))
            await asyncio.sleep(0)
            leader = tasks.create_task(writer.append(entry(1), [row(1)]))
            tasks.create_task(writer.append(entry(2), [row(2)]))
            await asyncio.sleep(0)
            leader.cancel()
        assert set(writer.finished) == {"input0", "input1", "input2"}


# What is damaged is said in one line.


def one_line(error: pytest.ExceptionInfo[Fatal], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in (*words, "--redo"):
        assert word in text


async def test_the_job_to_repeat(shard: Shard) -> None:
    """What is damaged names the job to repeat, where the folder knows it."""
    shard.done.parent.mkdir(exist_ok=True)
    (shard.done.parent / "job.json").write_text('{"job": "ask", "fingerprint": {}}', "utf-8")
    shard.done.write_text("{", "utf-8")
    with pytest.raises(Fatal, match=r"repeat its job with --redo ask \("):
        shard.seal()


async def test_damaged_seal(shard: Shard) -> None:
    """A seal that does not decode is one line, and nothing is deleted."""
    await sealed(shard)
    for damage in [b"", b"{", b"\xff\xfe", b'{"inputs": "three"}']:
        shard.done.write_bytes(damage)
        shard.checkpoint.write_bytes(b"kept")
        for look in (shard.seal, shard.settle, shard.verify, partial(shard.reopen, Row, lambda row: row.parent)):
            with pytest.raises(Fatal) as error:
                look()
            one_line(error, "seal", str(shard.done), "damaged")
        assert shard.checkpoint.read_bytes() == b"kept"


@pytest.mark.parametrize("damage", [b'{"id":', b"\0" * 20, b"\xff" * 10, b"", b'{"seal":{"inputs":1}}', b'{"rows":1}'])
async def test_damaged_checkpoint(shard: Shard, damage: bytes) -> None:
    """A checkpoint that is damaged before its last line is one line, and nothing is cut off."""
    await opened(shard, 3)
    kept = shard.checkpoint.read_bytes().splitlines(keepends=True)
    shard.checkpoint.write_bytes(kept[0] + damage + b"\n" + kept[2])
    before = contents(shard.data.parent)
    with pytest.raises(Fatal) as error:
        await opened(shard)
    one_line(error, "checkpoint", str(shard.checkpoint), "damaged")
    assert contents(shard.data.parent) == before


async def test_damaged_mark(shard: Shard) -> None:
    """A last line that begins like a seal and is none is one line."""
    await opened(shard, 1)
    shard.checkpoint.write_bytes(shard.checkpoint.read_bytes() + b'{"seal":{"inputs":1}}\n')
    with pytest.raises(Fatal) as error:
        shard.settle()
    one_line(error, "checkpoint", "damaged")


async def test_checkpoint_with_wrong_ends(shard: Shard) -> None:
    """A checkpoint whose byte counts were changed never gives torn or swapped rows."""
    await opened(shard, 3)
    whole = shard.checkpoint.read_bytes()
    ends = [line.end for line in shard.entries()]
    out_of_order = whole.replace(b'"end":%d' % ends[0], b'"end":%d' % (ends[1] + 1))
    shard.checkpoint.write_bytes(out_of_order)
    with pytest.raises(Fatal) as error:
        shard.entries()
    one_line(error, "checkpoint", "damaged")
    shard.checkpoint.write_bytes(whole.replace(b'"end":%d' % ends[0], b'"end":%d' % ends[1]))
    with pytest.raises(Fatal) as error:
        shard.write_seal(shard.entries(), places(3), "")
    one_line(error, str(shard.data), "rows")


async def test_missing_rows(shard: Shard) -> None:
    """A data file that is shorter than its checkpoint says, or gone, is one line; the checkpoint is kept."""
    await opened(shard, 3)
    checkpoint = shard.checkpoint.read_bytes()
    size = shard.data.stat().st_size
    os.truncate(shard.data, size - 1)
    with pytest.raises(Fatal) as error:
        await opened(shard)
    one_line(error, str(shard.data), f"{size - 1} bytes", f"says {size}")
    shard.data.unlink()
    with pytest.raises(Fatal) as error:
        await opened(shard)
    one_line(error, "has 0 bytes")
    assert shard.checkpoint.read_bytes() == checkpoint


async def test_rows_without_seal_or_checkpoint(shard: Shard) -> None:
    """Rows with neither seal nor checkpoint are not overwritten: one line."""
    await sealed(shard)
    shard.done.unlink()
    data = shard.data.read_bytes()
    with pytest.raises(Fatal) as error:
        await sealed(shard)
    one_line(error, str(shard.data), "neither a seal nor a checkpoint")
    assert shard.data.read_bytes() == data


async def test_sealed_rows_that_changed(shard: Shard) -> None:
    """A sealed shard with one bit changed, cut short or gone is found by its checksum, and never opened again."""
    await sealed(shard)
    shard.verify()
    data = bytearray(shard.data.read_bytes())
    data[10] ^= 1
    for damage, word in [(data, "checksum"), (data[:-1], "bytes"), (b"", "bytes")]:
        shard.data.write_bytes(damage)
        looks = [shard.verify, partial(shard.reopen, Row, lambda row: row.parent)]
        for look in looks + [shard.whole, shard.settle] * (word == "bytes"):
            with pytest.raises(Fatal) as error:
                look()
            one_line(error, str(shard.data), word)
    shard.data.unlink()
    for look in (shard.verify, shard.whole, shard.settle):
        with pytest.raises(Fatal) as error:
            look()
        one_line(error, str(shard.data), "is missing")


async def test_verifying_what_is_not_sealed(shard: Shard) -> None:
    """An open shard is in order as long as its journal can be read; one whose files are gone is one line."""
    await opened(shard, 2)
    shard.verify()
    shard.checkpoint.unlink()
    with pytest.raises(Fatal) as error:
        shard.verify()
    one_line(error, str(shard.data), "has neither a seal nor a checkpoint")
    shard.data.unlink()
    with pytest.raises(Fatal) as error:
        shard.verify()
    one_line(error, str(shard.data), "is missing, and its seal with it")


async def test_the_look_at_the_size_reads_no_rows(shard: Shard) -> None:
    """What a resume does for each sealed shard reads no rows: other bytes of the same number are left to `verify`."""
    await sealed(shard)
    shard.data.write_bytes(b"x" * shard.data.stat().st_size)
    assert shard.whole() == shard.settle() == shard.seal()
    with pytest.raises(Fatal, match="its checksum differs"):
        shard.verify()


async def test_decided_shard_without_its_rows(shard: Shard) -> None:
    """A seal is carried out only over the rows that it describes."""
    await opened(shard, 2)
    with mock.patch.object(Shard, "_carry_out", return_value=None):
        shard.write_seal(shard.entries(), places(2), "")
    shard.data.with_name(f"{shard.data.name}.tmp").unlink()
    shard.data.write_bytes(b"")
    with pytest.raises(Fatal) as error:
        shard.settle()
    one_line(error, str(shard.data), "0 bytes")
    assert not shard.done.exists()


async def test_looking_changes_nothing(shard: Shard) -> None:
    """Asking for a seal changes no file: another process may be at work on the shard."""
    await opened(shard, 2)
    with mock.patch.object(Shard, "_carry_out", return_value=None):
        shard.write_seal(shard.entries(), places(2), "")
    before = contents(shard.data.parent)
    assert shard.seal() is None
    assert contents(shard.data.parent) == before
    assert shard.settle() is not None
    shard.checkpoint.write_bytes(b"left behind")
    assert shard.seal() == shard.settle() is not None
    assert not shard.checkpoint.exists()


async def test_peeking_changes_nothing(shard: Shard) -> None:
    """One can look at what is finished in an open shard while it is written, at any instant, and change nothing."""
    assert shard.peek() == []
    await opened(shard, 3)
    whole = shard.checkpoint.read_bytes()
    with mock.patch.object(Shard, "_carry_out", return_value=None):
        shard.write_seal(shard.entries(), places(3), "")
    for end in (len(whole) - 1, len(whole), len(whole) + 5, shard.checkpoint.stat().st_size):
        os.truncate(shard.checkpoint, end)
        before = contents(shard.data.parent)
        assert [line.id for line in shard.peek()] == [
            f"input{number}" for number in range(2 if end < len(whole) else 3)
        ]
        assert contents(shard.data.parent) == before
        shard.checkpoint.write_bytes(whole + b'{"seal":{"inputs":1}}\n')
    shard.checkpoint.write_bytes(b"\0\n" + whole)
    with pytest.raises(Fatal) as error:
        shard.peek()
    one_line(error, "checkpoint", "damaged")


# The disk says no.


@pytest.mark.slow
def test_disk_full_at_every_operation(tmp_path: Path) -> None:
    """A full disk ends in one line that says what to do; with space again, the same bytes, and only what was lost asked."""
    outcomes = some_outcomes(9)
    expected = Work(folder(tmp_path, "whole"), outcomes).undisturbed()
    count = len(operations(Work(folder(tmp_path, "counted"), outcomes)))
    refused = 0
    for number in range(count):
        work = Work(folder(tmp_path, str(number)), outcomes)
        error = complaint(partial(live, Disk(work.folder, full_from(number)), work))
        if error is not None:
            refused += 1
            assert "disk is full" in str(error)
            assert "free some space" in str(error)
            assert "\n" not in str(error)
        work.books.kill()
        assert work.undisturbed() == expected
        work.books.check()
    assert refused > 8


def complaint(work: Callable[[], Any]) -> Fatal | None:
    """The error in which `work` ends, which must be one that tells the user something."""
    try:
        work()
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, Fatal):
            return error
        raise
    return None


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of that size at `place`; gives what mounts it again with other options."""

    def mount(*arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(place)], check=True, capture_output=True)

    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "none")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    try:
        yield lambda options: mount("-o", f"remount,{options}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.processes
def test_real_full_disk(tmp_path: Path) -> None:
    """On a file system that is really full nothing committed is lost, and the shard is finished once there is space."""
    outcomes = {f"i{number}": lines(f"i{number}", [4000]) for number in range(40)}
    expected = Work(folder(tmp_path, "whole"), outcomes).undisturbed()
    place = folder(tmp_path, "small")
    with small_disk(place, "96k") as remount:
        work = Work(place, outcomes)
        error = complaint(lambda: asyncio.run(work()))
        assert error is not None
        assert "disk is full" in str(error)
        committed = set(work.books.committed)
        assert committed
        assert {line.id for line in Shard(place, 0).entries()} >= committed
        work.books.kill()
        remount("size=4m")
        assert work.undisturbed() == expected
        work.books.check()


@pytest.mark.processes
def test_real_read_only_disk(tmp_path: Path) -> None:
    """On a file system that became read-only every way to open a shard is one line, and nothing is lost."""
    outcomes = some_outcomes(9)
    expected = Work(folder(tmp_path, "whole"), outcomes).undisturbed()
    place = folder(tmp_path, "small")
    with small_disk(place, "4m") as remount:
        for stage in (0, 20):
            work = Work(place, outcomes)
            live(Disk(place, kill_at(stage)), work)
            remount("ro")
            error = complaint(lambda work=work: asyncio.run(work()))
            assert "no permission to write there; make the folder writable" in str(error)
            remount("rw")
        assert Work(place, outcomes).undisturbed() == expected


async def test_broken_shard_takes_no_more(shard: Shard) -> None:
    """After a write that failed, the same line comes for everything else, and nothing more is written."""
    disk = Disk(shard.data.parent, full_from(6))
    with disk.mounted():
        async with ShardWriter(shard) as writer:
            with pytest.raises(Fatal, match="disk is full"):
                await writer.append(entry(0), [row(0)])
            done = list(disk.operations)
            with pytest.raises(Fatal, match="disk is full"):
                await writer.append(entry(1), [row(1)])
            assert disk.operations == done


async def test_every_write_that_fails_is_fatal(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a write, each of those who wait gets a Fatal of its own, with what it said."""

    async def fail(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr("engine.writers._commit", fail)
    async with ShardWriter(shard, crowd=2) as writer:
        appends = (writer.append(entry(number), [row(number)]) for number in range(2))
        errors = await asyncio.gather(*appends, return_exceptions=True)
    assert [str(error) for error in errors] == ["cannot schedule new futures after shutdown"] * 2
    assert all(isinstance(error, Fatal) for error in errors)
    assert errors[0] is not errors[1]


@pytest.mark.parametrize("name", ["00000.jsonl", "00000.checkpoint.jsonl"])
async def test_permission_denied(shard: Shard, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be opened is one line, and no open file is left behind."""

    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        if str(path).endswith(f"/{name}"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return io.FileIO(path, kwargs["mode"])

    monkeypatch.setattr("aiofiles.threadpool.sync_open", refuse)
    with pytest.raises(Fatal, match=r"no permission to write there; make the folder writable"):
        async with ShardWriter(shard):
            pass


async def test_a_disk_that_fails_names_the_shard(shard: Shard) -> None:
    """Whatever is done with a shard, an error of the disk is one line with the shard's file in it."""
    seal = await sealed(shard)
    broken = OSError(errno.EIO, "Input/output error")

    def fails(what: Callable[[], object], name: str) -> None:
        with mock.patch(name, side_effect=broken), pytest.raises(Fatal) as error:
            what()
        assert f"cannot write {shard.data}: Input/output error; fix this" in str(error.value)

    fails(shard.seal, "pathlib.Path.read_bytes")
    fails(shard.whole, "pathlib.Path.stat")
    fails(shard.settle, "pathlib.Path.unlink")
    fails(partial(shard.read, seal), "pathlib.Path.read_bytes")
    fails(partial(shard.reopen, Row, lambda row: row.parent), "engine.shards.write_atomic")
    shard.reopen(Row, lambda row: row.parent)
    fails(shard.entries, "engine.shards.cut_off")
    fails(partial(shard.write_seal, shard.entries(), places(3), ""), "os.fsync")
    fails(partial(shard.write_seal, shard.entries(), places(3), ""), "engine.shards.Shard.committed")
    fails(partial(shard.hand_out, "fence"), "engine.shards.write_atomic")
    with shard.checkpoint.open("ab", buffering=0) as checkpoint:
        fails(partial(shard.decide, seal, [], checkpoint), "os.fsync")
    with pytest.raises(Fatal) as error:
        shard.held(mock.Mock(seek=mock.Mock(side_effect=broken)), "fence")
    assert f"cannot write {shard.checkpoint}: " in str(error.value)


async def test_unreadable_seal(shard: Shard) -> None:
    """A seal that cannot be read is one line."""
    shard.done.mkdir()
    with pytest.raises(Fatal, match="cannot write"):
        shard.seal()


async def test_a_cancelled_commit_is_carried_through(shard: Shard) -> None:
    """Threads cannot be cancelled: who is cancelled while it commits comes out when the disk is at rest, the batch whole."""
    started, go_on, sync = threading.Event(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        started.set()
        go_on.wait()
        sync(descriptor)

    async with ShardWriter(shard) as writer:
        with mock.patch.object(os, "fdatasync", slow):
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(writer.append(entry(0), [row(0)]))
                await asyncio.to_thread(started.wait)
                first.cancel()
                tasks.create_task(writer.append(entry(1), [row(1)]))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not first.done()
                go_on.set()
        assert first.cancelled()
        assert set(writer.finished) == {"input0", "input1"}
    assert shard.data.read_bytes() == row(0) + row(1)
    assert len(shard.entries()) == 2


@virtually
async def test_commits_gather(tmp_path: Path) -> None:
    """A lone input is on disk at once; those that follow closely go together, until as many wait as may be held back."""
    disk, loop = Disk(folder(tmp_path, "dataset")), asyncio.get_running_loop()
    with disk.mounted():
        async with ShardWriter(Shard(tmp_path / "dataset", 0), crowd=4) as writer:
            start, before = loop.time(), len(disk.operations)
            await writer.append(entry(0), [row(0)])
            assert loop.time() == start
            await asyncio.gather(*(writer.append(entry(number), [row(number)]) for number in (1, 2)))
            assert loop.time() == pytest.approx(start + GATHER_S)
            await asyncio.gather(*(writer.append(entry(number), [row(number)]) for number in (3, 4, 5, 6)))
            assert loop.time() == pytest.approx(start + GATHER_S), "four are a crowd"
            assert len(disk.operations) - before == 3 * len(["write", "fdatasync", "write", "fdatasync"])


@virtually
async def test_commits_of_a_slow_disk(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower the disk, the more inputs share a sync; one commit that was held up changes nothing."""
    times = iter([0.001, 3.0, 0.001, 0.03, 0.03, 0.03, 9, 9, 9, 0.001])

    async def written(files: Any) -> float:
        return next(times)

    monkeypatch.setattr("engine.writers._commit", written)
    seen = []
    async with ShardWriter(shard, crowd=2) as writer:
        for number in range(10):
            await writer.append(entry(number), [row(number)])
            seen.append(writer.gather_s)
    assert seen == [GATHER_S] * 5 + [0.3] * 3 + [GATHER_MOST_S, GATHER_S]


@virtually
async def test_a_slow_disk_waits_for_a_larger_crowd(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    async def written(files: Any) -> float:
        sizes.append(files[1][1].count(b"\n"))
        return 0.05

    monkeypatch.setattr("engine.writers._commit", written)
    async with ShardWriter(shard, crowd=2) as writer:
        for start in (0, 1, 2):
            await writer.append(entry(start), [row(start)])
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(*(writer.append(entry(number), [row(number)]) for number in range(3, 7)))
        assert loop.time() == begun  # four are a crowd now
        await asyncio.gather(*(writer.append(entry(number), [row(number)]) for number in range(7, 9)))
        assert loop.time() == pytest.approx(begun + GATHER_MOST_S)
    assert sizes == [1, 1, 1, 4, 2]


def test_whole_lines_only(tmp_path: Path) -> None:
    """Every line of a shard that was killed anywhere decodes: none is torn, none is there twice."""
    outcomes = some_outcomes(9)
    for number in range(8, 24):
        work = Work(folder(tmp_path, str(number)), outcomes)
        data = work.through(iter([kill_at(number), kill_at(number // 2)]), Random(number))["00000.jsonl"]
        ids = [made.id for made in decode_lines(data, Row)]
        assert len(ids) == len(set(ids)) == sum(len(made) for made in outcomes.values() if isinstance(made, list))
