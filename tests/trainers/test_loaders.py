from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from training_rows import EXAMPLES, SYSTEM

from jobs.tuning.export import export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights with a chat template; made in a process of its own, as are all that follow."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "tests.lora.tiny", str(folder)], cwd=ROOT, check=True, timeout=600)
    return folder


def loaded(trainer: str, folder: Path, base: Path, *, seed: int = 0) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "tests.trainers.load", trainer, str(folder), str(base)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_HOME": str(base / "cache"),
        "PYTHONHASHSEED": str(seed),
        "HOME": str(base),
        "DISABLE_VERSION_CHECK": "1",
    }
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("ROW ")]


@pytest.mark.parametrize(
    ("trainer", "format"),
    [("axolotl", "axolotl"), ("llama_factory", "llama_factory"), ("trl", "trl_prompt_completion")],
)
def test_the_loss_is_on_the_answers(trainer: str, format: str, tmp_path: Path, base: Path) -> None:
    """A trainer's own loader takes every training example, and learns its answer and nothing before it."""
    export(format, EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)

    rows = loaded(trainer, tmp_path, base)

    training = [example for example in EXAMPLES if example.split == "train"]
    assert len(rows) == len(training)
    for example in training:
        (row,) = [row for row in rows if example.prompt in row["text"] and example.title in row["text"]]
        assert example.answer.strip() in row["loss"]
        assert example.prompt not in row["loss"]


@pytest.mark.parametrize("format", ["openai", "parquet", "trl_conversational"])
@pytest.mark.parametrize("seed", [1, 2])
def test_trl_takes_messages(format: str, seed: int, tmp_path: Path, base: Path) -> None:
    """TRL takes rows of messages for conversations, whatever the hash seed, also beside the columns of Parquet."""
    export(format, EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)

    rows = loaded("trl", tmp_path, base, seed=seed)

    training = [example for example in EXAMPLES if example.split == "train"]
    assert len(rows) == len(training)
    assert all(row["text"].startswith("<|im_start|>system\nYou answer questions") for row in rows)
