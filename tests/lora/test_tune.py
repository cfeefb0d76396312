"""Tuning as a whole: what a kill, a stop and a damaged checkpoint leave, and what comes out."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.signals import Stop
from jobs.tuning.lora.losses import read_losses
from jobs.tuning.lora.tune import tune
from jobs.tuning.tuning_jobs import read_models, served, tuned_model
from tests.lora.conftest import ROOT, settings, write_data

pytestmark = pytest.mark.timeout(1800)

STEPS = 21  # 13 examples in batches of 2, three times


def start(base: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.lora.program", str(base), str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(base: Path, folder: Path) -> None:
    process = start(base, folder)
    process.communicate(timeout=600)
    assert process.returncode == 0


def until_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout
    for line in process.stdout:
        if int(line) == step:
            return
    raise AssertionError(f"it ended before step {step}")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def losses(folder: Path) -> list[Any]:
    return read_losses(folder / "tuning" / "losses.jsonl")


@pytest.fixture(scope="module")
def undisturbed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The losses of a training that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_data(folder)
    finish(tiny, folder)
    return losses(folder)


def test_the_losses_are_written_and_fall(undisturbed: list[Any]) -> None:
    """A line a step, validation before the first, every few and at the last; the model learns what it is shown."""
    assert [loss.step for loss in undisturbed] == list(range(STEPS + 1))
    assert [loss.step for loss in undisturbed if loss.val is not None] == [0, 4, 8, 12, 16, 20, 21]
    assert undisturbed[-1].epoch == 3
    assert undisturbed[-1].val < undisturbed[0].val


@pytest.mark.skipif(sys.platform != "linux", reason="the children of a process are read from /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_disturbed_training_ends_as_an_undisturbed_one(
    tiny: Path, run_folder: Path, undisturbed: list[Any], how: signal.Signals
) -> None:
    """Killed, or stopped by Ctrl-C, at any step: no process is left, and the same command ends with the same losses."""
    process = start(tiny, run_folder)
    until_step(process, random.Random(how).randrange(2, STEPS - 1))
    trainers = children(process.pid)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert trainers
    assert not any(runs(pid) for pid in trainers)
    assert tuned_model(run_folder) is None
    finish(tiny, run_folder)
    assert losses(run_folder) == undisturbed
    assert tuned_model(run_folder)


def runs(pid: int) -> bool:
    """Whether the process is there and no corpse, at once or before long."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        subprocess.run(["sleep", "0.1"], check=True)
    return True


def test_a_damaged_checkpoint_is_passed_over(tiny: Path, run_folder: Path, undisturbed: list[Any]) -> None:
    """A last checkpoint with other bytes, and one that was not finished: it goes on from the one before."""
    process = start(tiny, run_folder)
    until_step(process, 10)
    process.kill()
    process.communicate(timeout=60)
    (home,) = (path for path in (run_folder / "tuning").iterdir() if path.is_dir())
    before, last = sorted((home / "checkpoints").glob("step-?????????"))
    weights = last / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    shutil.copytree(before, home / "checkpoints" / "step-000000099.tmp")
    finish(tiny, run_folder)
    assert losses(run_folder) == undisturbed


async def test_what_came_out_is_written_down(tiny: Path, run_folder: Path) -> None:
    """The name, the adapter as a GGUF file and no checkpoint; a second call trains nothing."""
    finish(tiny, run_folder)
    made = served(run_folder, "tiny")
    assert made
    assert made.adapter
    assert made.adapter.read_bytes()[:4] == b"GGUF"
    assert not (made.adapter.parent / "checkpoints").exists()
    assert read_models(run_folder / "models.json").jobs[0].status == "succeeded"
    before = (run_folder / "tuning" / "losses.jsonl").stat()
    finish(tiny, run_folder)
    assert (run_folder / "tuning" / "losses.jsonl").stat() == before
    with pytest.raises(BadInput, match="was made over tiny, not another: run gristmill finetune again"):
        served(run_folder, "another")


async def test_what_cannot_be_tuned_is_one_line(tmp_path: Path, run_folder: Path) -> None:
    """A file that is no model ends in one line that names it."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BadInput, match=r"^broken\.gguf cannot be tuned here: transformers does not load it") as error:
        await tune(
            folder=run_folder,
            base=broken,
            base_name="broken",
            settings=settings(),
            checkpoint_every=3,
            validate_every=4,
            stop=Stop(),
            hook=lambda event: None,
        )
    assert "\n" not in str(error.value)
