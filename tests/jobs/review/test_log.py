from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from decided import decision

from engine.errors import Fatal
from jobs.review import log as module
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog

ROOT = Path(__file__).parents[3]


def test_a_run_without_reviews_has_no_folder(tmp_path: Path) -> None:
    """Reading makes nothing: no folder, no file."""
    log = ReviewLog(tmp_path / "reviews")
    assert (log.shards(), log.rows(3), list(log.damage())) == ([], [], [])
    assert not list(tmp_path.iterdir())


def test_each_shard_of_pairs_has_a_file(tmp_path: Path) -> None:
    """Decisions stand in the file of their pair's shard, in the order in which they were made, each with an id."""
    log = ReviewLog(tmp_path / "reviews")
    made = [log.append(3, decision("a")), log.append(0, decision("b", "reject")), log.append(3, decision("c"))]
    assert log.shards() == [0, 3]
    assert log.rows(3) == [made[0], made[2]]
    assert len({row.id for row in made}) == 3
    assert sorted(path.name for path in log.folder.iterdir()) == ["00000.jsonl", "00003.jsonl"]


def test_a_kill_at_any_byte_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """However much of a row was written, the rows before it are read, and the next one stands behind them."""
    log = ReviewLog(tmp_path / "reviews")
    saved = [log.append(0, decision("a")), log.append(0, decision("b"))]
    path = tmp_path / "reviews" / "00000.jsonl"
    whole = path.read_bytes()
    log.append(0, decision("c", "edit", question="What is “torn”?"))
    torn = path.read_bytes()
    for end in range(len(whole), len(torn)):
        path.write_bytes(torn[:end])
        assert log.rows(0) == saved
        assert [*log.rows(0)[:2], log.append(0, decision("d"))] == log.rows(0)


@pytest.mark.parametrize("refusal", ["write", "sync"])
def test_a_disk_that_refuses_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    """The error is one line, the file ends where it did, and the next decision is saved."""
    log = ReviewLog(tmp_path / "reviews")
    saved = log.append(0, decision("a"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if refusal == "sync":
            patch.setattr(module.os, "fsync", full)
        else:
            patch.setattr(module, "memoryview", full, raising=False)
        with pytest.raises(Fatal, match="the disk is full"):
            log.append(0, decision("b"))
    assert log.rows(0) == [saved]
    assert [*log.rows(0), log.append(0, decision("b"))] == log.rows(0)


def test_a_row_is_synced_before_it_counts_as_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is synced, then the folder with the file's name, before `append` returns."""
    log, synced = ReviewLog(tmp_path / "reviews"), list[str]()
    log.append(0, decision("a"))
    sync: Callable[[int], None] = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    log.append(1, decision("b"))
    assert synced == ["00001.jsonl", "reviews"]


def test_a_damaged_row_is_one_line(tmp_path: Path) -> None:
    """A file that is no longer what was written is named, with its line and what to do."""
    log = ReviewLog(tmp_path / "reviews")
    log.append(0, decision("a"))
    path = tmp_path / "reviews" / "00000.jsonl"
    path.write_bytes(b"not a row\n" + path.read_bytes())
    with pytest.raises(Fatal, match=r"00000.jsonl are damaged \(line 1 .*delete that line"):
        log.rows(0)
    assert len(list(log.damage())) == 1


@pytest.mark.processes
def test_two_processes_append_at_once(tmp_path: Path) -> None:
    """No row of either is lost, torn or mixed with another."""
    code = (
        "import sys; from pathlib import Path; from decided import decision; from jobs.review.log import ReviewLog\n"
        "log = ReviewLog(Path(sys.argv[1]))\n"
        "for number in range(40): log.append(0, decision(f'{sys.argv[2]}{number}', 'edit', question='?' * 4000))"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "jobs")])}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "reviews"), name], env={**os.environ, **paths})
        for name in "xy"
    ]
    assert [process.wait() for process in started] == [0, 0]
    rows = ReviewLog(tmp_path / "reviews").rows(0)
    for name in "xy":
        assert [row.pair_id for row in rows if row.pair_id[0] == name] == [f"{name}{number}" for number in range(40)]
    assert len({row.id for row in rows}) == len(standing(rows)) == 80
