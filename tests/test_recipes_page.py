"""The configuration and the prompt in docs/recipes.md, run against a simulated endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from jobs.cli.main import main
from jobs.config.generation import QUESTION_TYPES
from jobs.models.prompts.replaced import PLACES

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    lines = [line for path in sorted((run / name).glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def test_the_page_runs(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its configuration ends with training data of its types, scores by its prompt, and a report that counts types."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    settings = block("toml").replace("https://api.example.com/v1", simulate())
    settings = settings.replace("YOUR-MODEL", "simulated-chat").replace("YOUR-EMBEDDING-MODEL", "simulated-embedding")
    (tmp_path / "recipes.toml").write_text(settings, "utf-8")
    (tmp_path / "my_judge.txt").write_text(block("text"), "utf-8")
    run = tmp_path / "run"
    command = ["run", str(example_papers), "--out", str(run), "--config", str(tmp_path / "recipes.toml")]
    assert main([*command, "--set", "evaluate.sample=6"]) == 0
    pairs, examples, verdicts = (rows(run, name) for name in ("pairs", "examples", "verdicts"))
    assert set(QUESTION_TYPES) >= {row["type"] for row in pairs} > {"fact", "why"}
    assert all(row["evidence"] for row in pairs)
    assert any(row.get("second_chunk_id") for row in pairs)
    assert {row["type"] for row in examples} <= {row["type"] for row in pairs}
    assert verdicts
    assert all(1 <= row["correctness"] <= 5 and "by chance" in row["feedback"] for row in verdicts)
    assert (run / "dataset" / "train.jsonl").stat().st_size
    html = (run / "report.html").read_text("utf-8")
    assert re.search(r"Types of the kept pairs:(?: \w+(?: step)? \d+,)* why \d+", html)


def test_the_page_names_all_types_and_places() -> None:
    """The tables of types and of places are those of the code."""
    assert re.findall(r"^\| `(\w+)` \| [^|]*\|$", PAGE.partition("## Types")[2], re.MULTILINE) == list(QUESTION_TYPES)
    for name, known in PLACES.items():
        row = re.search(rf"^\| `{name}` \|(.*)\|$", PAGE, re.MULTILINE)
        assert row is not None
        assert all(f"`{{{word}}}`" in row[1] for word in (*known.needed, *known.further))
