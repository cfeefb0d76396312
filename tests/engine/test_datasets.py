from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fake_disk import Disk, Row, contents, deal, full_from, kill_at, live, quiet, virtually
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import Dataset
from engine.errors import BadInput, Fatal
from engine.fingerprints import Made, compared
from engine.records import make_id
from engine.shards import Entry, FailedInput, Shard
from engine.signals import Stopped
from engine.writers import ShardWriter


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset[Row]:
    return Dataset(tmp_path / "rows", Row)


def rows(*texts: str) -> list[Row]:
    return [Row(id=make_id(text), parent="", text=text) for text in texts]


# Writing and reading.


def test_a_stamp_changes_with_the_rows(dataset: Dataset[Row]) -> None:
    """An open shard has an empty stamp; sealed ones with the same rows have the same, with others another."""
    assert dataset.stamp(0) == ""
    for index, texts in enumerate(["ab", "ab", "c"]):
        dataset.write_sealed(index, rows(*texts))
    assert dataset.stamp(0) == dataset.stamp(1) != dataset.stamp(2)


def test_written_rows_read_back(dataset: Dataset[Row]) -> None:
    """Shards that are written whole read back in order, one by one or all."""
    assert dataset.sealed() == []
    for index, texts in enumerate(["ab", "", "c"]):
        dataset.write_sealed(index, rows(*texts))
    assert dataset.sealed() == [0, 1, 2]
    assert [row.text for row in dataset.read(0)] == ["a", "b"]
    assert [row.text for row in dataset.rows()] == ["a", "b", "c"]
    assert [seal.rows for seal in dataset.seals()] == [2, 0, 1]
    assert dataset.read(7) == []
    for index in range(3):
        dataset.shard(index).verify()


def test_many_shards_stay_in_order(dataset: Dataset[Row]) -> None:
    """Shard 100000 comes after shard 99999, though its name is longer."""
    for index in [100_000, 99_999, 2]:
        dataset.write_sealed(index, rows(str(index)))
    assert dataset.sealed() == [2, 99_999, 100_000]


@pytest.mark.slow
def test_written_whole_or_open(tmp_path: Path) -> None:
    """Killed anywhere while a shard is written, over an old one too, it is the old one, the new one, or not sealed."""
    old, new = rows("old", "older"), rows("new", "newer", "newest")
    for before in ([], old):
        seen = set()
        for number in range(40):
            run = tmp_path / f"{len(before)} {number}"
            run.mkdir()
            dataset = Dataset(run / "rows", Row)
            if before:
                with Disk(run).mounted():
                    dataset.write_sealed(0, before)

            async def body(dataset: Dataset[Row] = dataset) -> None:
                dataset.write_sealed(0, new)

            disk = Disk(run, kill_at(number))
            killed = live(disk, body)
            disk.crash(Random(number))
            dataset.settle()
            found = dataset.read(0)
            assert found in ([], before, new)
            assert bool(found) == (dataset.sealed() == [0])
            seen.add(tuple(row.text for row in found))
            with Disk(run).mounted():
                dataset.write_sealed(0, new)
            dataset.shard(0).verify()
            assert dataset.read(0) == new
            if not killed:
                break
        assert not killed
        assert seen >= {(), ("new", "newer", "newest")}


def test_settle_carries_out(dataset: Dataset[Row]) -> None:
    """A shard that was decided and not yet sealed when the process died counts as sealed once that is carried out."""
    dataset.folder.mkdir()
    shard = dataset.shard(3)

    async def body() -> None:
        async with ShardWriter(shard) as writer:
            await writer.append(Entry(id="a", position=0, end=0), [b'{"id":"b","parent":"a","text":""}\n'])
            await writer.seal({"a": 0}, source="", dropped={})

    disk = Disk(dataset.folder)
    live(disk, body)
    steps = len(disk.operations)
    shutil.rmtree(dataset.folder)
    dataset.folder.mkdir()
    live(Disk(dataset.folder, kill_at(steps - 4)), body)
    assert dataset.sealed() == []
    dataset.settle()
    assert dataset.sealed() == [3]
    assert [row.parent for row in dataset.rows()] == ["a"]


async def test_unsealed(dataset: Dataset[Row]) -> None:
    """The shards that are open are found, without those whose checkpoint has only outlived its seal."""
    dataset.write_sealed(0, rows("a"))
    dataset.shard(0).checkpoint.touch()
    for index in (2, 1):
        async with ShardWriter(dataset.shard(index)):
            pass
    assert [shard.index for shard in dataset.unsealed()] == [1, 2]


@pytest.mark.parametrize("damage", [b"", b"{}\n", b'{"id":"a","parent":"b","text":"c"}\n' * 3])
def test_reading_damaged_rows(dataset: Dataset[Row], damage: bytes) -> None:
    """A sealed shard of another length than its seal says is never read as if it were whole."""
    dataset.write_sealed(0, rows("a", "b"))
    dataset.shard(0).data.write_bytes(damage)
    with pytest.raises(Fatal, match=r"bytes, its seal says .*--redo"):
        dataset.read(0)


def test_reading_lost_rows(dataset: Dataset[Row]) -> None:
    """A sealed shard whose rows are gone is one line."""
    dataset.write_sealed(0, rows("a", "b"))
    dataset.shard(0).data.unlink()
    with pytest.raises(Fatal, match=r"is missing, its seal says .*--redo"):
        list(dataset.rows())


def test_reading_other_rows(dataset: Dataset[Row]) -> None:
    """Rows of the right length that are not those that were sealed are one line with their file."""
    dataset.write_sealed(0, rows("a", "b"))
    data = dataset.shard(0).data
    data.write_bytes(data.read_bytes().replace(b'"text":"b"', b'"test":"b"'))
    with pytest.raises(Fatal, match="checksum differs"):
        dataset.read(0)


def test_no_room_for_a_shard(tmp_path: Path) -> None:
    """A full disk and a folder that cannot be made are one line."""
    run = tmp_path / "run"
    run.mkdir()
    for number in range(7):
        disk = Disk(run, full_from(number))
        with disk.mounted(), pytest.raises(Fatal, match="disk is full"):
            Dataset(run / f"rows{number}", Row).write_sealed(0, rows("a"))
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="cannot write"):
        Dataset(tmp_path / "file" / "rows", Row).write_sealed(0, rows("a"))


# The fingerprint.


@pytest.mark.parametrize(
    "fingerprint",
    [
        {},
        {"model": "m", "temperature": 0.0, "top_k": 3, "cap": None, "on": True},
        {"pages": (1, 2), "nested": {"a": ["ü", "\n"], "b": {1: "int"}}},
        {"prompt": "line\n" * 500},
    ],
)
def test_same_settings_go_on(dataset: Dataset[Row], fingerprint: Mapping[str, Any]) -> None:
    """What a job was made with is known again in the next run, whatever is in it."""
    dataset.claim("ask", fingerprint)
    dataset.write_sealed(0, rows("a"))
    before = contents(dataset.folder)
    Dataset(dataset.folder, Row).claim("ask", fingerprint)
    assert contents(dataset.folder) == before


def test_changed_settings_are_refused(dataset: Dataset[Row]) -> None:
    """Other settings are refused with what changed and what to do, and nothing is touched."""
    dataset.claim("ask", {"model": "one", "top_k": 3, "same": 1})
    dataset.write_sealed(0, rows("a"))
    before = contents(dataset.folder)
    with pytest.raises(BadInput) as error:
        dataset.claim("ask", {"model": "two", "cap": 5, "same": 1})
    assert str(error.value) == (
        "ask was made with other settings: cap was None, is 5; model was 'one', is 'two'; top_k was 3, is None. "
        "Restore the old settings, repeat this job and those after it with --redo ask, or use another --out"
    )
    assert contents(dataset.folder) == before


RAISABLE = ("cap", "each")


def test_a_raised_setting_goes_on(dataset: Dataset[Row]) -> None:
    """A number that grew, or a cap that is gone, is taken over, and what it was before is kept beside it."""
    assert dataset.made() is None
    steps = [{"cap": 5, "each": 1}, {"cap": 5, "each": 2}, {"cap": None, "each": 2}]
    dataset.claim("ask", {"model": "one", "cap": 3, "each": 1}, raisable=RAISABLE)
    assert dataset.made() is None
    dataset.claim("ask", {"model": "one", **steps[0]}, raisable=RAISABLE)
    dataset.write_sealed(0, rows("a"))
    for number, step in enumerate(steps):
        for _ in range(2):
            assert dataset.claim("ask", {"model": "one", **step}, raisable=RAISABLE) == ""
            assert dataset.made() == Made(fingerprint={"model": "one", **step}, raised=steps[:number])


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (
            {"cap": 2, "each": 1},
            "ask has made more than that: cap was 3, is 2. What was paid for is not dropped: restore",
        ),
        ({"cap": 4, "each": 0}, "ask was made with other settings: cap was 3, is 4; each was 1, is 0. Restore"),
        ({"cap": 4}, "ask was made with other settings: cap was 3, is 4; each was 1, is None. Restore"),
        (
            {"cap": 4, "each": 1, "model": "two"},
            "ask was made with other settings: cap was 3, is 4; model was None, is",
        ),
    ],
)
def test_a_lowered_setting_is_refused(dataset: Dataset[Row], now: Mapping[str, Any], told: str) -> None:
    """Nothing paid is dropped for a smaller number, and nothing else may change beside a raise."""
    dataset.claim("ask", {"cap": 3, "each": 1}, raisable=RAISABLE)
    dataset.write_sealed(0, rows("a"))
    before = contents(dataset.folder)
    with pytest.raises(BadInput) as error:
        dataset.claim("ask", now, raisable=RAISABLE)
    assert str(error.value).startswith(told)
    assert "--redo ask" in str(error.value)
    assert contents(dataset.folder) == before


def test_a_raise_in_rows_of_an_earlier_release(dataset: Dataset[Row]) -> None:
    """Rows of an earlier version may stay, and no raise adds to them."""
    dataset.claim("ask", {"cap": 3, "rules": 1}, ["rules"], ["cap"])
    dataset.write_sealed(0, rows("a"))
    older = dataset.claim("ask", {"cap": 4, "rules": 2}, ["rules"], ["cap"])
    assert "earlier release (cap was 3, is 4; rules was 1, is 2)" in older
    assert dataset.made() == Made(fingerprint={"cap": 3, "rules": 1})


@given(st.text(max_size=5), st.text(max_size=5))
def test_long_settings_show_where_they_differ(one: str, other: str) -> None:
    """Of two long texts that differ far from their start the difference is shown, in one line."""
    common = "A long prompt.\n" * 100
    if one != other:
        with pytest.raises(BadInput) as error:
            compared("ask", {"prompt": common + one + common}, {"prompt": common + other + common}, (), ())
        told = str(error.value)
        was, now = told.split("prompt was ")[1].split(". Put")[0].split(", is ", 1)
        assert was != now
        assert "\n" not in told
        assert len(told) < 500


def commit_failure(folder: Path) -> None:
    (folder / "00000.checkpoint.jsonl").write_bytes(b'{"id":"a","position":0,"end":0,"error":{}}\n')


def commit_nothing(folder: Path) -> None:
    (folder / "00000.checkpoint.jsonl").touch()
    (folder / "00000.jsonl").touch()


def commit_empty_seal(folder: Path) -> None:
    (folder / "00000.jsonl").touch()
    (folder / "00000.done.json").write_bytes(b"{}")


@pytest.mark.parametrize(
    ("commit", "refused"), [(commit_failure, True), (commit_nothing, False), (commit_empty_seal, True)]
)
def test_what_counts_as_committed(dataset: Dataset[Row], commit: Callable[[Path], None], refused: bool) -> None:
    """Settings are free as long as no input was finished: a failure, or a seal without rows, was finished under them."""
    dataset.claim("ask", {"model": "one"})
    commit(dataset.folder)
    if refused:
        with pytest.raises(BadInput, match="was made with other settings"):
            dataset.claim("ask", {"model": "two"})
    else:
        dataset.claim("ask", {"model": "two"})
        dataset.write_sealed(0, rows("a"))
        with pytest.raises(BadInput, match="model was 'two', is 'one'"):
            dataset.claim("ask", {"model": "one"})


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff", None])
def test_damaged_fingerprint(dataset: Dataset[Row], damage: bytes | None) -> None:
    """Rows whose settings cannot be told are not added to: one line."""
    dataset.claim("ask", {"model": "one"})
    dataset.write_sealed(0, rows("a"))
    path = dataset.folder / "job.json"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(Fatal, match=r"job.json is (damaged|missing).*--redo"):
        dataset.claim("ask", {"model": "one"})


def test_discarded_at_once(tmp_path: Path) -> None:
    """Killed anywhere while it is discarded, a dataset is whole with its fingerprint, or gone: never rows without it."""
    source = tmp_path / "whole"
    source.mkdir()
    Dataset(source / "rows", Row).claim("ask", {"model": "one"})
    deal(source, [2, 3], "rows")
    whole = contents(source)
    for number in range(12):
        run = tmp_path / str(number)
        shutil.copytree(source, run)

        async def body(run: Path = run) -> None:
            Dataset(run / "rows", Row).discard()

        disk = Disk(run, kill_at(number))
        killed = live(disk, body)
        disk.crash(Random(number))
        left = {name: data for name, data in contents(run).items() if name.startswith("rows/")}
        assert left in ({}, whole)
        Dataset(run / "rows", Row).discard()
        Dataset(run / "rows", Row).discard()
        assert contents(run) == {} or killed
        Dataset(run / "rows", Row).claim("ask", {"model": "two"})


# Following.


async def follow(dataset: Dataset[Row], seen: list[int]) -> None:
    async for index in dataset.follow():
        seen.append(index)  # noqa: PERF401 - what was seen before an error counts


@virtually
async def test_followers_come_as_shards_are_sealed(dataset: Dataset[Row]) -> None:
    """Each follower gets each shard once, in order, however they are sealed, and ends when the dataset is closed."""
    seen: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(follow(dataset, seen)) for _ in range(2)]
        for index in [1, 0, 2]:
            dataset.write_sealed(index, rows(str(index)))
            dataset.notify()
            await quiet()
        assert not any(task.done() for task in followers)
        dataset.close()
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]
    assert seen[-1] == 2


async def test_followers_are_let_go(dataset: Dataset[Row]) -> None:
    """A follower that waits is let go by `Stopped`."""
    dataset.write_sealed(0, rows("a"))
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(dataset.stop)
    with pytest.raises(Stopped):
        await follow(dataset, seen)


async def test_a_shard_that_never_comes(dataset: Dataset[Row]) -> None:
    """In a closed dataset one can see whether a shard will ever be sealed."""
    dataset.write_sealed(0, rows("a"))
    dataset.close()
    assert await dataset.wait_sealed(0)
    assert not await dataset.wait_sealed(1)


@virtually
async def test_old_seals_are_not_trusted_while_a_job_works(dataset: Dataset[Row]) -> None:
    """A job may open a sealed shard again: its followers wait until it has said that this shard is settled."""
    dataset.write_sealed(0, rows("a"))
    dataset.write_sealed(1, rows("a"))
    dataset.begin()
    seen: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow(dataset, seen))
        await quiet()
        dataset.notify()
        dataset.notify(1)
        await quiet()
        assert seen == []
        dataset.notify(0)
        await quiet()
        dataset.close()
    assert seen == [0, 1]


def test_shards_are_named_by_number(dataset: Dataset[Row]) -> None:
    """The names of a shard's files are those of the contract."""
    shard = dataset.shard(7)
    assert isinstance(shard, Shard)
    assert [path.name for path in (shard.data, shard.checkpoint, shard.done)] == [
        "00007.jsonl",
        "00007.checkpoint.jsonl",
        "00007.done.json",
    ]


def test_failures_of_a_whole_shard(tmp_path: Path) -> None:
    """A shard that is written at once may hold failures beside its rows, as one that a job made."""
    dataset: Dataset[Row] = Dataset(tmp_path / "rows", Row)
    lost = [FailedInput(id="x", kind="bad", reason="no text"), FailedInput(id="y", kind="bad", reason="no answer")]
    seal = dataset.write_sealed(0, rows("a", "b"), lost)
    assert (seal.inputs, seal.rows, seal.failures) == (4, 2, lost)
    assert dataset.shard(0).seal() == seal
    assert dataset.read(0) == rows("a", "b")
    assert dataset.write_sealed(1, [], lost).rows == 0
    dataset.shard(1).verify()


def test_the_owner(tmp_path: Path) -> None:
    """A dataset tells which job has made it its own."""
    dataset = Dataset(tmp_path / "rows", Row)
    assert dataset.owner() is None
    dataset.claim("grind", {})
    assert Dataset(tmp_path / "rows", Row).owner() == "grind"


def test_rows_of_an_earlier_version_stay_but_none_are_added(tmp_path: Path) -> None:
    """A difference in a version alone is said and not raised, and the rows keep their fingerprint; any other is raised."""
    dataset = Dataset(tmp_path / "rows", Row)
    assert dataset.claim("grind", {"stone": 1, "cleaning": 2}, ["cleaning"]) == ""
    dataset.write_sealed(0, [Row(id="a", parent="", text="a")])
    before = (dataset.folder / "job.json").read_bytes()
    older = dataset.claim("grind", {"stone": 1, "cleaning": 3}, ["cleaning"])
    assert "cleaning was 2, is 3" in older
    assert "--redo grind" in older
    assert (dataset.folder / "job.json").read_bytes() == before
    with pytest.raises(BadInput, match="stone was 1, is 2"):
        dataset.claim("grind", {"stone": 2, "cleaning": 3}, ["cleaning"])
    with pytest.raises(BadInput, match="cleaning was 2, is 3"):
        dataset.claim("grind", {"stone": 1, "cleaning": 3})
