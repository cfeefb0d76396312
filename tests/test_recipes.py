"""The recipes of a run, as a user chooses them, against a simulated endpoint."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import BadInput, run_pipeline
from jobs.cli.main import main
from jobs.generation.question_types import TYPES
from jobs.simulator import Simulation, running

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


PROMPTS = {
    "ask": "As an examiner of mills, write {count} questions on {title} ({section}):\n---------------------\n{text}\n---------------------",
    "answer": "Mill words only.\n---------------------\n{text}\n---------------------\nQuery: {question}",
    "critic": "A miller rates {question} and {answer} by {text}",
    "judge": "A miller compares {response} with {reference} for {question}. Write a score from 1 to 5.",
}


def test_prompts_of_a_run_can_be_replaced(
    tmp_path: Path, example_papers: Path, simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run keeps the texts: it goes on without the files; a changed one is refused with the remedy, which helps."""
    for name, text in PROMPTS.items():
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    named = "\n".join(f'{name} = "{name}.txt"' for name in PROMPTS)
    settings = configured(simulate(), f"[curate]\ncritic = true\n\n[prompts]\n{named}\n")
    run = tmp_path / "run"
    command = ["run", str(example_papers), "--out", str(run), "--config", str(settings), "--until", "answer"]
    assert main(command) == 0
    kept = tomllib.loads((run / "run.toml").read_text("utf-8"))["prompts"]
    assert kept["texts"] == PROMPTS
    made = rows(run, "pairs")
    assert made
    for name in PROMPTS:
        (tmp_path / f"{name}.txt").rename(tmp_path / f"{name}.away")
    assert main(command) == 0
    assert main(["run", str(example_papers), "--out", str(run), "--until", "critique"]) == 0
    assert rows(run, "pairs") == made
    assert rows(run, "critiques")
    capsys.readouterr()
    (tmp_path / "ask.txt").write_text(PROMPTS["ask"].replace("an examiner", "a critic"), "utf-8")
    assert main(command) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "ask was made with other settings: prompt was " in told
    assert "--redo ask" in told
    assert tomllib.loads((run / "run.toml").read_text("utf-8"))["prompts"]["texts"] == PROMPTS
    assert main([*command, "--redo", "ask"]) == 0
    again = tomllib.loads((run / "run.toml").read_text("utf-8"))["prompts"]["texts"]
    assert again["ask"].startswith("As a critic of mills")
    assert rows(run, "pairs") != made


async def test_prompts_and_types_from_python(tmp_path: Path, example_papers: Path) -> None:
    """A prompt is a text of the settings there; one without its place is refused as on the command line."""
    own = "Write {count} pairs of the types {types} about this:\n---------------------\n{text}\n---------------------"
    async with running(Simulation(latency_mean_s=0.01, latency_sigma=0)) as endpoint:
        model = {"model": "simulated-chat", "base_url": endpoint.base_url, "api_key_env": ""}
        roles = dict.fromkeys(("generator", "base", "judge"), model)
        settings = {
            "models": {**roles, "embedding": {**model, "model": "simulated-embedding"}},
            "ask": {"types": {"how": 0.5, "why": 0.5}, "questions_per_chunk": 4},
            "prompts": {"texts": {"ask": own}},
        }
        await run_pipeline(example_papers, out=tmp_path / "run", settings=settings, until="answer")
        bad = {**settings, "prompts": {"texts": {"ask": own.replace("{types}", "all")}}}
        with pytest.raises(BadInput, match=r"prompts.texts.ask: \{types\} is missing"):
            await run_pipeline(out=tmp_path / "run", settings=bad, until="answer")
    assert {row["type"] for row in rows(tmp_path / "run", "pairs")} <= {"how", "why"}
    assert tomllib.loads((tmp_path / "run" / "run.toml").read_text("utf-8"))["prompts"]["texts"] == {"ask": own}


def test_a_prompt_without_its_place_is_refused_before_anything_is_written(
    tmp_path: Path, example_papers: Path, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the file and what is missing, or the line and what nothing fills in; there is no run."""
    settings = configured("http://127.0.0.1:9/v1", '[prompts]\nask = "mine.txt"\n')
    command = ["run", str(example_papers), "--out", str(tmp_path / "run"), "--config", str(settings)]
    for text, told in (
        ("Write questions on:\n{text}", "{count} is missing; the prompt ask must hold {text} and {count}"),
        ("Write {count} questions\non:\n{text} of {journal}", "mine.txt, line 3: nothing fills in {journal}"),
    ):
        (tmp_path / "mine.txt").write_text(text, "utf-8")
        assert main(command) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "mine.txt" in line
        assert told in line
        assert not (tmp_path / "run").exists()


def test_questions_of_types_over_one_chunk_and_two(
    tmp_path: Path, example_papers: Path, simulate: Simulate, configured: Configured
) -> None:
    """The rows name types and both chunks, which stand in the contexts of training; another order changes nothing."""
    shares = "types = {fact = 0.3, why = 0.2, number = 0.1, multi_step = 0.4}"
    settings = configured(simulate(), f"[ask]\nquestions_per_chunk = 3\n{shares}\n")
    made = []
    for name, concurrency in (("one", 1), ("other", 16)):
        run = tmp_path / name
        command = ["run", str(example_papers), "--out", str(run), "--config", str(settings), "--until", "augment"]
        assert main([*command, "--set", f"models.generator.max_concurrency={concurrency}"]) == 0
        made.append(rows(run, "examples"))
    assert made[0] == made[1]
    chunks = {row["id"]: row for row in rows(run, "chunks")}
    pairs = {row["id"]: row for row in rows(run, "pairs")}
    assert {"fact", "why", "multi_step"} <= {row["type"] for row in pairs.values()}
    assert {row["type"] for row in pairs.values()} <= {"fact", "why", "number", "multi_step"}
    two = {id_: row for id_, row in pairs.items() if "second_chunk_id" in row}
    assert len(two) > 3
    assert all(row["type"] == "multi_step" for row in two.values())
    for row in two.values():
        first, second = chunks[row["chunk_id"]], chunks[row["second_chunk_id"]]
        assert first["paper_id"] == second["paper_id"]
        assert row["second_evidence"] in " ".join(second["text"].split())
    examples = [row for row in made[0] if row["pair_id"] in two]
    assert any(row["split"] == "train" for row in examples)
    for row in examples:
        assert row["type"] == "multi_step"
        if row["split"] == "train":
            sources = {context["chunk_id"] for context in row["contexts"] if context["role"] == "source"}
            assert sources == {two[row["pair_id"]]["chunk_id"], two[row["pair_id"]]["second_chunk_id"]}
