from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_rows import EXAMPLES, SYSTEM, make_example

from jobs.cli.main import main
from jobs.generation.exported_rows import as_fields, unpacked
from jobs.generation.pair_file import GivenPair, read_pairs
from jobs.models.prompts import qa_prompt
from jobs.tuning.export import export
from jobs.tuning.exporters import EXPORTERS

CONTEXTS = ("One context.\n\nQuery: is in it.\nAnswer: too.", "Another.")


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_our_own_exports(format: str, tmp_path: Path) -> None:
    """Every export of ours is read back: the bare question, the answer, and the contexts in front of it."""
    example = make_example(1, prompt=qa_prompt("What is rule 1?", CONTEXTS), answer="Retries back off.")
    export(format, [example], tmp_path, system_prompt=SYSTEM, seed=0)

    (found,) = [pair for _, pair in read_pairs(next(tmp_path.glob("train.*")))]

    assert isinstance(found, GivenPair)
    assert (found.question, found.answer) == ("What is rule 1?", "Retries back off.")
    assert qa_prompt(found.question, found.contexts) == example.prompt


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_prompts_that_are_none_of_ours(format: str, tmp_path: Path) -> None:
    """A training file whose prompts are no QA prompts gives questions without contexts."""
    export(format, EXAMPLES, tmp_path, system_prompt="", seed=0)
    pairs = [pair for _, pair in read_pairs(next(tmp_path.glob("train.*")))]
    assert len(pairs) == 6
    assert all(isinstance(pair, GivenPair) and not pair.contexts for pair in pairs)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@given(
    question=text.filter(lambda text: "\n---" not in text and "Query:" not in text), contexts=st.lists(text, min_size=1)
)
def test_a_prompt_taken_apart(question: str, contexts: list[str]) -> None:
    """Whatever question and contexts are, the prompt made of what comes back is the prompt."""
    prompt = qa_prompt(question, contexts)
    found, parts = unpacked(prompt)
    assert found == question
    assert qa_prompt(found, parts) == prompt


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": "a", "contexts": ["c"]},
        {"query": "q", "response": "a", "context": "c", "paper": "p"},
        {"messages": "no list"},
    ],
)
def test_other_rows_lose_nothing(row: dict[str, object]) -> None:
    """What was read before is read as before: contexts and papers stay."""
    fields = as_fields(row)
    assert all(fields.get(name) == row.get(name) for name in ("contexts", "context", "paper", "messages"))


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_files_of_windows(mark: bytes, tmp_path: Path) -> None:
    """A byte order mark and lines that end in CR LF are read like any other file."""
    rows = [{"question": f"q{n}", "answer": "a"} for n in range(2)]
    (tmp_path / "lines.jsonl").write_bytes(mark + b"\r\n".join(json.dumps(row).encode() for row in rows) + b"\r\n")
    (tmp_path / "list.json").write_bytes(mark + json.dumps(rows, indent=1).replace("\n", "\r\n").encode())
    for name in ("lines.jsonl", "list.json"):
        assert [pair.question for _, pair in read_pairs(tmp_path / name) if isinstance(pair, GivenPair)] == ["q0", "q1"]


@pytest.mark.parametrize("format", ["openai", "parquet"])
def test_evaluate_an_export(
    format: str, tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> None:
    """``gristmill evaluate`` takes an export of ours, and asks with its contexts."""
    examples = [make_example(n, prompt=qa_prompt(f"What is rule {n}?", CONTEXTS)) for n in range(3)]
    export(format, examples, tmp_path, system_prompt=SYSTEM, seed=0)
    file, run, config = next(tmp_path.glob("train.*")), tmp_path / "run", configured(simulate())
    assert main(["evaluate", str(file), "--out", str(run), "--config", str(config)]) == 0
    rows = [json.loads(line) for line in (run / "responses" / "00000.jsonl").read_text("utf-8").splitlines()]
    assert [len(row["contexts"]) for row in rows] == [1, 1, 1]
