from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from training_rows import EXAMPLES, PAIRS, SYSTEM

from jobs.cli.main import main
from jobs.tuning.card import Making, write_card
from jobs.tuning.export import write_dataset

MAKING = Making(
    papers=2,
    chunks=1234,
    pairs=8,
    kept=8,
    generator="m",
    embedding="e",
    recipe="llama-index",
    split_by="paper",
    contexts="1 retrieved from all papers",
)


def loaded(folder: Path, cache: Path, name: str | None = None):  # type: ignore[no-untyped-def]
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), name, cache_dir=str(cache))


@pytest.mark.parametrize("sides", [("train", "val"), ("train",), ("val",)])
def test_a_folder_with_a_card_loads(tmp_path: Path, sides: tuple[str, ...]) -> None:
    """load_dataset on the folder gives the chat rows of each side that has some, and nothing of the pairs' files."""
    folder = tmp_path / "dataset"
    examples = [example for example in EXAMPLES if example.split in sides]
    rows = write_dataset(folder, examples, PAIRS, system_prompt=SYSTEM, seed=7)
    write_card(folder, rows, MAKING)

    found = loaded(folder, tmp_path / "cache")

    names = {"train": "train", "val": "validation"}
    expected = {names[side]: sum(example.split == side for example in examples) for side in sides}
    assert {split: data.num_rows for split, data in found.items()} == expected
    assert all(data.column_names == ["messages"] for data in found.values())


def test_the_card_says_how_it_was_made(tmp_path: Path) -> None:
    """The card has the sizes, the makers, and a licence to fill in."""
    write_card(tmp_path, {"train.jsonl": 1500, "val.jsonl": 0}, MAKING)
    text = (tmp_path / "README.md").read_text("utf-8")

    assert text.startswith("---\nlicense: unknown\n")
    assert "size_categories:\n- 1K<n<10K" in text.replace('"', "")
    assert "| `train.jsonl` | chat, training | 1,500 |" in text
    assert "val.jsonl" not in text
    assert "1,234 chunks" in text
    assert "To be filled in" in text


def test_what_was_filled_in_stays(tmp_path: Path) -> None:
    """The licence and the text below our last line are kept when the card is written again; the rest is new."""
    write_card(tmp_path, {"train.jsonl": 1}, MAKING)
    path = tmp_path / "README.md"
    text = path.read_text("utf-8").replace("license: unknown", "license: cc-by-4.0")
    path.write_text(text.replace("To be filled in", "CC BY 4.0, as the papers are"), "utf-8")

    write_card(tmp_path, {"train.jsonl": 2}, dataclasses.replace(MAKING, papers=9))

    again = path.read_text("utf-8")
    assert "license: cc-by-4.0\n" in again
    assert "CC BY 4.0, as the papers are" in again
    assert "Papers: 9," in again


@pytest.mark.processes
def test_a_run_writes_its_cards(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> None:
    """After a run, its training data and its rows load by their cards, also rows whose first shard has only null."""
    run, config = tmp_path / "run", configured(simulate())
    assert main(["run", str(example_papers), "--out", str(run), "--config", str(config)]) == 0
    assert loaded(run / "dataset", tmp_path / "cache")["train"].num_rows > 0
    verdicts = loaded(run, tmp_path / "cache", "verdicts")["train"]
    assert verdicts.features["correctness"].dtype == "float64"
