"""A worker that was taken for lost does no harm, at whichever step it froze and whatever was done since."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fake_disk import Disk, Row

from engine.checkpoints import Entry, Failure, Seal
from engine.datasets import Dataset
from engine.errors import Fatal, TakenOver
from engine.records import encode
from engine.shards import Shard, new_fence
from engine.writers import ShardWriter

INPUTS = [f"input{number}" for number in range(9)]
ORDER = {id_: position for position, id_ in enumerate(INPUTS)}
DROPPED = {"input5": Failure(kind="duplicate", reason="as input4")}


async def work(shard: Shard, fence: str, *, seed: int, most: int = len(INPUTS)) -> Seal | None:
    """What a worker does with a shard that it was given; it commits at most `most` inputs, and decides if it has all."""
    random = Random(seed)
    async with ShardWriter(shard, crowd=3, fence=fence) as writer:
        todo = [id_ for id_ in INPUTS if id_ not in writer.finished]
        random.shuffle(todo)
        for start in range(0, min(len(todo), most), 3):
            await asyncio.gather(*(_append(writer, id_) for id_ in todo[start : start + 3][:most]))
        if most < len(todo):
            return None
        return await writer.decide(ORDER, source="s", dropped=DROPPED)


async def _append(writer: ShardWriter, id_: str) -> None:
    number = ORDER[id_]
    failed = number == 3
    rows = [] if failed else [encode(Row(id=f"{id_}.{part}", parent=id_, text="ö" * 50)) for part in range(number % 3)]
    error = Failure(kind="flaky", reason="no") if failed else None
    entry = Entry(id=id_, position=number, end=0, error=error, reply="what?" if failed else "")
    await writer.append(entry, rows)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def files_of_the_next_run(folder: Path) -> dict[str, bytes]:
    """After a run has claimed the dataset, which deletes what lost workers have left."""
    identity = folder / "job.json"
    identity.write_text('{"job": "job", "fingerprint": {}}', "utf-8")
    Dataset(folder, Row).claim("job", {})
    identity.unlink()
    return files(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    shard = Shard(tmp_path_factory.mktemp("undisturbed"), 0)
    complete(shard, seed=1)
    return files(shard.data.parent)


def complete(shard: Shard, *, seed: int) -> None:
    """What the head and a second worker do: hand out, work, carry out."""
    fence = new_fence()
    if shard.settle() is None and shard.hand_out(fence) is None:
        assert asyncio.run(work(shard, fence, seed=seed)) is not None
        assert shard.settle() is not None


class Frozen(Disk):
    """The disk as the first worker sees it: at its step number `at`, `meanwhile` happens."""

    def __init__(self, root: Path, at: int, meanwhile: Callable[[], None]) -> None:
        self.at, self.meanwhile = at, meanwhile
        self.frozen = False
        self.thawed = False
        super().__init__(root, self._freeze, ours=lambda path: not self.frozen)

    def open(self, path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode == "r+b" and self._is_ours(path):
            self.step("open", str(path))
        return super().open(path, mode, *args, **kwargs)

    def _freeze(self, number: int, operation: str) -> None:
        if number == self.at and not self.thawed:
            self.frozen, held = True, self._lock
            self._lock = threading.RLock()  # others do not wait for the one that is frozen
            self.meanwhile()
            self.frozen, self.thawed, self._lock = False, True, held


def frozen_lives(folder: Path, meanwhile: Callable[[Shard], None], before: int = 0) -> Iterator[tuple[Shard, str]]:
    """One life for each step of a worker: where it froze, and how it ended after it had thawed.

    `before` inputs were committed by a worker before it.
    """
    for at in range(1000):
        shard = Shard(folder / f"{at}", 0)
        shard.data.parent.mkdir()
        if before:
            former = new_fence()
            shard.hand_out(former)
            asyncio.run(work(shard, former, seed=0, most=before))
        fence = new_fence()
        shard.hand_out(fence)
        disk = Frozen(shard.data.parent, at, lambda shard=shard: meanwhile(shard))  # type: ignore[misc]
        ended = ""
        with disk.mounted():
            try:
                asyncio.run(work(shard, fence, seed=at))
            except TakenOver:
                ended = "taken over"
        if not disk.thawed:
            assert at > 10
            return
        yield shard, ended
    raise AssertionError("the worker never ended")


@pytest.mark.parametrize("before", [0, 4])
def test_sealed_by_another_while_frozen(tmp_path: Path, undisturbed: dict[str, bytes], before: int) -> None:
    ends = set()
    for shard, ended in frozen_lives(tmp_path, lambda shard: complete(shard, seed=7), before):
        ends.add(ended)
        assert files_of_the_next_run(shard.data.parent) == undisturbed
    assert ends == {"", "taken over"}  # "" where it had nothing left to do but to report


def test_opened_again_while_frozen(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """The shard is sealed, opened again for its failures, and another worker is in the middle of it."""

    def meanwhile(shard: Shard) -> None:
        complete(shard, seed=7)
        shard.reopen(Row, lambda row: row.parent, lambda failure: failure.kind == "flaky")
        shard.hand_out("third")

    for shard, _ in frozen_lives(tmp_path, meanwhile):
        assert asyncio.run(work(shard, "third", seed=3)) is not None
        assert shard.settle() is not None
        assert files_of_the_next_run(shard.data.parent) == undisturbed


def test_two_at_work_at_once(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """A worker that is cut off, not frozen, goes on beside the one that has its shard now."""

    async def both(shard: Shard) -> Seal | None:
        late = asyncio.create_task(work(shard, "first", seed=1))
        while len(shard.peek()) < 4:  # noqa: ASYNC110 (its progress shows on disk alone)
            await asyncio.sleep(0)
        found = await asyncio.to_thread(shard.hand_out, "second")
        seal = found or await work(shard, "second", seed=2)
        await asyncio.wait([late])
        assert isinstance(late.exception(), TakenOver) == (found is None)
        return seal

    shard = Shard(tmp_path, 0)
    shard.hand_out("first")
    seal = asyncio.run(both(shard))
    assert shard.settle() == seal
    assert files_of_the_next_run(tmp_path) == undisturbed


def test_killed_worker_is_followed(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """What was committed under an earlier fence stays; each commit is found once."""
    shard = Shard(tmp_path, 0)
    for seed in range(4):
        shard.hand_out(f"fence{seed}")
        asyncio.run(work(shard, f"fence{seed}", seed=seed, most=2))
    assert len([entry for entry in shard.peek() if entry.id]) == 8
    complete(shard, seed=9)
    assert files(tmp_path) == undisturbed


def test_one_process_goes_on_behind_a_worker(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """A run that had workers is resumed without: a worker that is still there finds another fence."""

    async def alone(shard: Shard) -> Seal:
        async with ShardWriter(shard) as writer:
            await asyncio.gather(*(_append(writer, id_) for id_ in INPUTS if id_ not in writer.finished))
            return await writer.seal(ORDER, source="s", dropped=DROPPED)

    async def resumed(shard: Shard, worker: ShardWriter) -> None:
        await alone(shard)
        with pytest.raises(TakenOver):
            await worker.decide(ORDER, source="s", dropped=DROPPED)

    async def life() -> None:
        shard = Shard(tmp_path, 0)
        shard.hand_out("worker")
        async with ShardWriter(shard, fence="worker") as worker:
            await _append(worker, "input7")
            await resumed(shard, worker)

    asyncio.run(life())
    assert files(tmp_path) == undisturbed


@pytest.mark.parametrize("found", [[], ["other"], ["mine", "other"]])
def test_only_the_last_fence_opens(tmp_path: Path, found: Sequence[str]) -> None:
    shard = Shard(tmp_path, 0)
    for fence in found:
        shard.hand_out(fence)

    async def open_it() -> None:
        async with ShardWriter(shard, fence="mine"):
            pass

    before = files(tmp_path)
    with pytest.raises(TakenOver, match="handed out again"):
        asyncio.run(open_it())
    assert files(tmp_path) == before  # nothing was made or cut


def test_a_shard_that_was_opened_again_is_taken_from_a_worker(tmp_path: Path) -> None:
    """There is no fence in its new journal: a worker that thaws only now finds that the shard is not its own."""
    shard = Shard(tmp_path, 0)
    shard.hand_out("mine")
    asyncio.run(work(shard, "mine", seed=0))
    shard.settle()
    shard.reopen(Row, lambda row: row.parent)
    before = files(tmp_path)
    with pytest.raises(TakenOver, match="handed out again"):
        asyncio.run(work(shard, "mine", seed=0))
    assert files(tmp_path) == before


def test_handing_out_deletes_what_a_lost_worker_left(tmp_path: Path) -> None:
    """A worker that died as it decided leaves sorted rows beside the shard, which nobody reads."""
    shard = Shard(tmp_path, 0)
    for fence in ("a1", "b2", "c3"):
        shard.hand_out(fence)
        assert sorted(files(tmp_path)) == sorted([shard.data.name, shard.checkpoint.name])
        shard._sorted(fence).write_bytes(b"half")


def test_a_decided_shard_is_not_handed_out(tmp_path: Path) -> None:
    shard = Shard(tmp_path, 0)
    shard.hand_out("a")
    seal = asyncio.run(work(shard, "a", seed=0))
    with pytest.raises(TakenOver):
        asyncio.run(work(shard, "a", seed=0))
    assert shard.hand_out("b") == seal == shard.seal()


def test_rows_that_are_missing_are_not_handed_out(tmp_path: Path) -> None:
    shard = Shard(tmp_path, 0)
    shard.hand_out("a")
    asyncio.run(work(shard, "a", seed=0, most=6))
    shard.data.write_bytes(b"")
    with pytest.raises(Fatal, match="has 0 bytes"):
        shard.hand_out("b")


def test_rows_are_those_of_the_worker(tmp_path: Path) -> None:
    """Its rows are read from the file that it opened, not from the one that has the name now."""

    async def life() -> list[Any]:
        shard = Shard(tmp_path, 0)
        shard.hand_out("a")
        async with ShardWriter(shard, fence="a") as writer:
            await _append(writer, "input2")
            shard.hand_out("b")
            await _append(writer, "input8")
            return await asyncio.to_thread(writer.rows, Row, ORDER)

    assert [row.parent for row in asyncio.run(life())] == ["input2"] * 2 + ["input8"] * 2
