"""The recipes of a run, as a user chooses them, against a simulated endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import main
from jobs.generation.grounded import TYPES

pytestmark = pytest.mark.processes

Configured = Callable[..., Path]
Simulate = Callable[..., str]


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    lines = [line for path in sorted((run / name).glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("form", ["json_schema", "json_object", "none"])
def test_grounded_pairs_of_an_endpoint(
    form: str, tmp_path: Path, example_papers: Path, simulate: Simulate, configured: Configured
) -> None:
    """Whether the endpoint takes a schema, any JSON or words alone: one request a chunk, and evidence in every pair."""
    settings = configured(simulate("--seed", "3"), '[ask]\nrecipe = "grounded"\n')
    run = tmp_path / "run"
    chosen = ["--set", f"models.generator.response_format={form}", "--until", "answer"]
    assert main(["run", str(example_papers), "--out", str(run), "--config", str(settings), *chosen]) == 0
    chunks = {row["id"]: " ".join(row["text"].split()) for row in rows(run, "chunks")}
    questions, pairs = rows(run, "questions"), rows(run, "pairs")
    assert len(pairs) > len(chunks) / 4
    assert {pair["type"] for pair in pairs} <= set(TYPES)
    assert len({pair["type"] for pair in pairs}) > 1
    assert all(pair["evidence"] and pair["evidence"] in chunks[pair["chunk_id"]] for pair in pairs)
    drafts = {row["id"]: row["draft"] for row in questions}
    assert [pair["answer"] for pair in pairs] == [drafts[pair["parent"]] for pair in pairs]
    seals = {name: json.loads((run / name / "00000.done.json").read_text("utf-8")) for name in ("questions", "pairs")}
    assert 0 < seals["questions"]["usage"]["requests"] <= len(chunks)
    assert seals["pairs"]["usage"]["requests"] == 0


def test_grounded_resumes_as_what_it_was(
    tmp_path: Path, example_papers: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe is in the fingerprint; another one is refused with the remedy, the same one asks nothing again."""
    settings = configured(simulate(), '[ask]\nrecipe = "grounded"\n')
    command = [
        "run",
        str(example_papers),
        "--out",
        str(tmp_path / "run"),
        "--config",
        str(settings),
        "--until",
        "answer",
    ]
    assert main(command) == 0
    before = rows(tmp_path / "run", "pairs")
    assert main([*command, "--set", "ask.recipe=llama-index"]) == 1
    assert "--redo ask" in capsys.readouterr().err
    assert main(command) == 0
    assert rows(tmp_path / "run", "pairs") == before
