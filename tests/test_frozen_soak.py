"""A process that freezes at a step of its work on files, is followed by another one, and goes on; and a head that is killed
there: the bytes of one process, with what was paid twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fake_disk import contents, deal
from frozen_mill import LOST_S, SLOTS, THAWED_S, WORKERS, jobs
from worker_places import Ledger, mill_with

pytestmark = [pytest.mark.soak, pytest.mark.processes]

ROOT = Path(__file__).parents[1]
SIZES = [9, 5, 12, 7, 3, 8]
LOST = "its shards are handed out again"

APPEND = [
    "open rows",
    "open checkpoint",
    "before sync rows",
    "after sync rows",
    "before sync checkpoint",
    "after sync checkpoint",
]
SORT = ["open sorted rows", "before sync sorted rows", "after sync sorted rows"]
MARK = ["after sync folder of sorted rows", "before sync mark", "after sync mark"]
HAND_OUT = ["rename checkpoint handed out", "rename rows handed out"]
CARRY_OUT = [
    "rename sorted rows",
    "after sync folder of sorted rows",
    "rename replies",
    "before sync seal",
    "rename seal",
    "remove checkpoint",
]


class Mill:
    """The processes of one run, of which one stops at a step."""

    def __init__(self, folder: Path, freeze: str) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        deal(self.run, SIZES)
        self.freeze = freeze
        self._mark = folder / "frozen"
        self._folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "FREEZE": freeze,
            "FREEZE_MARK": str(self._mark),
        }

    def begin(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "tests" / "frozen_mill.py"), str(self.run)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self._environment)

    def frozen(self, head: subprocess.Popen[str]) -> int:
        """Wait until a process has reached the step; its number."""
        end = time.monotonic() + 60
        while not (self._mark.exists() and self._mark.read_text("ascii")):
            assert time.monotonic() < end, "no process has come to that step"
            assert head.poll() is None
            time.sleep(0.02)
        return int(self._mark.read_text("ascii"))

    def paid_twice(self) -> int:
        asked = Counter(
            line
            for path in self._folder.glob("journal.*")
            for line in path.read_text("ascii").splitlines()
            if line.startswith("asked ")
        )
        return asked.total() - len(asked)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("one")
    deal(folder, SIZES)
    asyncio.run(mill_with(folder, 0, Ledger(), jobs=lambda: jobs({})))
    return contents(folder)


def ended(mill: Mill) -> dict[str, bytes]:
    """The files after one process more has claimed the datasets, which deletes what lost workers have left."""
    ledger = Ledger()
    asyncio.run(mill_with(mill.run, 0, ledger, jobs=jobs))
    assert not ledger.asked, "all was done"
    return contents(mill.run)


def check(mill: Mill, one_process: dict[str, bytes], *, lost: int) -> None:
    """The files are those of `one_process`, and no more was paid twice than `lost` processes had in flight, of two jobs."""
    twice, bound = mill.paid_twice(), lost * 2 * SLOTS
    print(f"\n{mill.freeze}: {lost} lost, paid twice {twice} of at most {bound}", end="")
    assert ended(mill) == one_process
    assert twice <= bound


@pytest.mark.parametrize("step", [*APPEND, *SORT, *MARK])
def test_a_worker_freezes_is_followed_and_thaws(tmp_path: Path, one_process: dict[str, bytes], step: str) -> None:
    """It is stopped past its lease, its shards are worked on by others, and it goes on with all it was about to do."""
    mill = Mill(tmp_path, f"worker, {step}, SIGSTOP")
    with mill.begin() as head:
        frozen = mill.frozen(head)
        assert head.stdout is not None
        lost = [next(line for line in head.stdout if LOST in line)]
        time.sleep(THAWED_S)
        os.kill(frozen, signal.SIGCONT)
        lost += [line for line in head.stdout if LOST in line]
        assert head.wait(60) == 0
    assert "cannot be reached" in lost[0]
    check(mill, one_process, lost=len(lost))


@pytest.mark.parametrize("step", [*HAND_OUT, *CARRY_OUT])
def test_the_head_freezes_and_thaws(tmp_path: Path, one_process: dict[str, bytes], step: str) -> None:
    """It is stopped until its workers have ended themselves, and goes on with others."""
    mill = Mill(tmp_path, f"head, {step}, SIGSTOP")
    with mill.begin() as head:
        assert mill.frozen(head) == head.pid
        time.sleep(LOST_S + 2)
        os.kill(head.pid, signal.SIGCONT)
        assert head.stdout is not None
        lost = [line for line in head.stdout if LOST in line]
        assert head.wait(60) == 0
    assert lost
    check(mill, one_process, lost=len(lost))


@pytest.mark.parametrize("step", [*HAND_OUT, *CARRY_OUT])
def test_the_head_is_killed(tmp_path: Path, one_process: dict[str, bytes], step: str) -> None:
    """All its workers end with it, and the next head goes on."""
    mill = Mill(tmp_path, f"head, {step}, SIGKILL")
    with mill.begin() as head:
        assert mill.frozen(head) == head.pid
        assert head.wait(60) == -signal.SIGKILL
    with mill.begin() as head:
        assert head.wait(60) == 0
    check(mill, one_process, lost=WORKERS + 1)
