"""What mutants of the writer have shown to be untested; how it writes is tested in test_shards.py."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fake_disk import Row, virtually

from engine.checkpoints import Entry, Failure
from engine.errors import Fatal, TakenOver
from engine.records import encode
from engine.shards import Shard, new_fence
from engine.writers import ShardWriter

BROKEN = OSError(errno.EIO, "Input/output error")


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path, 0)


def entry(number: int, error: Failure | None = None) -> Entry:
    return Entry(id=f"input{number}", position=number, end=0, error=error)


def row(number: int) -> bytes:
    return encode(Row(id=f"row{number}", parent=f"input{number}", text=""))


async def append(writer: ShardWriter, *numbers: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in numbers:
            tasks.create_task(writer.append(entry(number), [row(number)]))


@virtually
async def test_one_input_is_a_crowd_unless_said_otherwise(shard: Shard) -> None:
    """Without a crowd, no input waits for another one, also right after a commit."""
    async with ShardWriter(shard) as writer:
        start = asyncio.get_running_loop().time()
        await append(writer, 0)
        await append(writer, 1)
        assert asyncio.get_running_loop().time() == start


@virtually
async def test_the_input_that_completes_a_crowd_ends_the_wait(shard: Shard) -> None:
    """A batch that already waits for more is written as soon as exactly `crowd` inputs are in it."""
    async with ShardWriter(shard, crowd=2) as writer:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await append(writer, 0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(append(writer, 1))
            for _ in range(5):  # the batch is being gathered by then
                await asyncio.sleep(0)
            tasks.create_task(append(writer, 2))
        assert loop.time() == start


async def test_failures_are_counted_by_input(shard: Shard) -> None:
    """Each failed try of an input counts, and finished inputs have none."""
    async with ShardWriter(shard) as writer:
        for failed in (True, True, False):
            await writer.append(entry(0, Failure(kind="flaky", reason="no") if failed else None))
        await writer.append(entry(1))
        assert writer.failures() == {"input0": 2}


async def test_kept_inputs_are_counted_apart(shard: Shard) -> None:
    """A worker's seal counts former inputs as kept, not as inputs."""
    fence = new_fence()
    shard.hand_out(fence)
    async with ShardWriter(shard, fence=fence) as writer:
        await append(writer, 0, 1, 2)
        seal = await writer.decide({f"input{n}": n for n in range(3)}, source="", dropped={}, kept=1)
    assert (seal.inputs, seal.kept, seal.rows) == (2, 1, 3)


async def test_a_worker_that_may_not_open_its_files(shard: Shard) -> None:
    """An error of the disk is reported as such; only files that are gone mean that another process has the shard."""
    fence = new_fence()
    shard.hand_out(fence)
    with mock.patch("aiofiles.threadpool.sync_open", side_effect=BROKEN), pytest.raises(Fatal) as error:
        async with ShardWriter(shard, fence=fence):
            pass
    assert not isinstance(error.value, TakenOver)
    assert f"cannot write {shard.data}: Input/output error" in str(error.value)


async def test_an_interrupt_is_no_error_of_the_disk(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no Exception and ends a write is raised as it is in those who wait."""

    class Interrupt(BaseException):
        pass

    async def interrupted(*_: object) -> None:
        raise Interrupt

    monkeypatch.setattr("engine.writers._commit", interrupted)
    async with ShardWriter(shard) as writer:
        with pytest.raises(Interrupt):
            await writer.append(entry(0), [row(0)])


async def test_a_disk_that_fails_names_the_file_that_was_written(shard: Shard) -> None:
    """Opening, committing, reading back and deciding: each error of the disk is one line with the shard's file."""

    def broken(target: Any) -> Any:
        return mock.patch(target, side_effect=BROKEN)

    line = f"cannot write {shard.data}: Input/output error; fix this"
    with broken("pathlib.Path.touch"), pytest.raises(Fatal) as error:
        await ShardWriter(shard).__aenter__()
    assert line in str(error.value)
    fence = new_fence()
    shard.hand_out(fence)
    async with ShardWriter(shard, fence=fence) as writer:
        await append(writer, 0)
        with broken("engine.shards.Shard.committed"), pytest.raises(Fatal) as error:
            writer.rows(Row, {"input0": 0})
        assert line in str(error.value)
        with broken("engine.writers._commit"), pytest.raises(Fatal) as error:
            await writer.append(entry(1), [row(1)])
        assert line in str(error.value)
        with broken("engine.shards.Shard.committed"), pytest.raises(Fatal) as error:
            await writer.decide({"input0": 0}, source="", dropped={})
        assert line in str(error.value)
