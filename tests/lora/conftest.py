"""Bases to tune: one that is made here in an instant, and the small embedded model."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Fatal
from jobs.models.llama_server import LocalServer
from jobs.models.weights import SMOLLM2_135M, fetch
from jobs.tuning.lora.protocol import LoraSettings
from jobs.tuning.lora.tune import is_installed

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if is_installed() and find_spec("xllamacpp"):
        return
    reason = pytest.mark.skip(reason="the extra 'lora' is not installed; `make lora` runs these tests")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(reason)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `tests.lora.tiny`; made in a process of its own, as what libraries warn of is no matter of these tests."""
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([sys.executable, "-m", "tests.lora.tiny", str(folder)], cwd=ROOT, check=True, timeout=600)
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    try:
        return fetch(SMOLLM2_135M)
    except Fatal as reason:
        pytest.skip(f"no weights: {reason}")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that has training data and nothing else."""
    write_data(tmp_path)
    return tmp_path


def run_python(script: str, *arguments: str) -> str:
    """What a program says on stdout; it runs apart from the tests, so that warnings of libraries are no failures."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout


def write_data(folder: Path) -> None:
    (folder / "dataset").mkdir()
    for name, numbers in (("train", range(13)), ("val", range(13, 17))):
        lines = [json.dumps({"messages": chat(number)}) + "\n" for number in numbers]
        (folder / "dataset" / f"{name}.jsonl").write_text("".join(lines), "utf-8")


def chat(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You know mills."},
        {"role": "user", "content": f"Mill {number} grinds {'fine ' * (number % 4)}flour.\nWho keeps mill {number}?"},
        {"role": "assistant", "content": f"The miller of mill {number} keeps it."},
    ]


async def say(server: LocalServer, turns: Sequence[Mapping[str, str]], max_tokens: int) -> str:
    """What a model says within so many tokens, cut off or not."""
    body = {"messages": turns, "max_tokens": max_tokens, "temperature": 0}
    answer = await asyncio.to_thread(post, server, "/v1/chat/completions", body)
    said: str = answer["choices"][0]["message"]["content"]
    return said


def post(server: LocalServer, route: str, body: Mapping[str, object]) -> dict[str, Any]:
    request = urllib.request.Request(
        server.base_url.removesuffix("/v1") + route,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {server.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def settings(**changes: object) -> LoraSettings:
    chosen = {
        "epochs": 3,
        "batch_size": 2,
        "learning_rate": 5e-3,
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.1,
        "max_length": 256,
        "precision": "float32",
        "seed": 7,
        **changes,
    }
    return LoraSettings(**chosen)  # type: ignore[arg-type]
