"""Blind sheets hide who wrote a pair, and the table says of filled-in ones what is in them."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

QUALITY = Path(__file__).resolve().parents[1] / "benchmarks" / "quality"
RECIPES = ("ours", "theirs")
SHEETS = sorted(path.name.split(".")[0] for path in (QUALITY / "sheets").glob("*.key.csv"))


@pytest.fixture(scope="module")
def programs() -> Iterator[SimpleNamespace]:
    """The programs `sheets` and `table`, as modules."""
    sys.path.insert(0, str(QUALITY))
    yield SimpleNamespace(sheets=importlib.import_module("sheets"), table=importlib.import_module("table"))
    sys.path.remove(str(QUALITY))
    for name in ("sheets", "table"):
        sys.modules.pop(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What make_pairs.py writes: of each of 12 papers a chunk, with two pairs by each recipe."""
    chunks = [
        {"id": f"chunk{n}", "paper_id": f"paper{n}", "title": f"Paper {n}", "text": f"Passage {n}."} for n in range(12)
    ]
    made = [
        {
            "recipe": recipe,
            "chunk_id": chunk["id"],
            "paper_id": chunk["paper_id"],
            "asked": 2,
            "pairs": [
                {"question": f"{number}. What does {recipe[::-1]} {number} of {chunk['id']} say?", "answer": "This."}
                for number in range(1, 3)
            ],
            "requests": 1 if recipe == "ours" else 3,
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "seconds": 1.0,
        }
        for chunk in chunks
        for recipe in RECIPES
    ]
    for name, rows in (("chunks", chunks), ("pairs", made)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def sheet(programs: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "blind.csv"
    monkeypatch.setattr(sys, "argv", ["sheets.py", str(folder), "--out", str(folder / "blind")])
    programs.sheets.main()
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill_in(sheets: ModuleType, path: Path, verdicts: dict[str, str]) -> None:
    """Answer every point of an item with its letter of `verdicts`; an item without one stays blank."""
    rows: list[dict[str, Any]] = rows_of(path)  # type: ignore[assignment]
    for row in rows:
        row.update(dict.fromkeys(sheets.POINTS, verdicts.get(row["item"], "")))
    sheets.write(path, sheets.SHEET, rows)


def test_a_sheet_hides_the_recipe(sheet: Path) -> None:
    """No cell of a sheet names a recipe, no number starts a question, and the order of the two recipes changes."""
    rows, key = rows_of(sheet), rows_of(sheet.with_suffix(".key.csv"))
    assert len(rows) == len(key) == 48
    assert not [row for row in rows for recipe in RECIPES if recipe in " ".join(row.values())]
    assert all(row["question"].startswith("What does") for row in rows)
    assert {row["passage"] for row in rows} == {f"Passage {n}." for n in range(12)}
    first_of_chunk = [own["recipe"] for number, own in enumerate(key) if number % 4 == 0]
    assert set(first_of_chunk) == set(RECIPES)
    assert [row["item"] for row in rows] == [row["item"] for row in key]


def test_a_key_says_whose_a_pair_is(sheet: Path) -> None:
    """The key gives back the recipe that each pair was made by."""
    for row, own in zip(rows_of(sheet), rows_of(sheet.with_suffix(".key.csv")), strict=True):
        assert own["recipe"][::-1] in row["question"]
        assert own["chunk_id"] == row["chunk_id"]


def test_marks_of_a_recipe_are_not_shown(programs: SimpleNamespace) -> None:
    """List marks, numbers and labels go; a number or a dash that belongs to the text stays."""
    bare = programs.sheets.without_marks
    assert bare("- What is it?") == bare("1. What is it?") == bare("**Question 2:** What is it?") == "What is it?"
    assert bare("2.5 kg of seeds") == "2.5 kg of seeds"
    assert bare("−3 degrees") == "−3 degrees"


def test_the_table_of_a_filled_in_sheet(programs: SimpleNamespace, sheet: Path) -> None:
    """All of ours pass and one in two of theirs: shares, difference, interval and costs are those."""
    key = rows_of(sheet.with_suffix(".key.csv"))
    seen: set[tuple[str, str]] = set()
    verdicts = {}
    for own in key:
        second = (own["recipe"], own["chunk_id"]) in seen
        seen.add((own["recipe"], own["chunk_id"]))
        verdicts[own["item"]] = "y" if own["recipe"] == "ours" or second else "n"
    fill_in(programs.sheets, sheet, verdicts)
    ours, theirs = programs.table.lines(programs.table.judged(sheet), "ours")
    assert (ours.recipe, ours.passes.mean, ours.passes.scored, ours.ours_less_it) == ("ours", 1.0, 24, None)
    assert (theirs.recipe, theirs.passes.mean, theirs.points["right"]) == ("theirs", 0.5, 0.5)
    assert (theirs.ours_less_it.mean, theirs.ours_less_it.low, theirs.ours_less_it.high) == (0.5, 0.5, 0.5)
    text = programs.table.drawn([ours, theirs], programs.table.paid([sheet.parent]))
    assert "| ours | 24 | 100 % (74 % to 100 %) |" in text
    assert "| theirs | 24 | 50 % (50 % to 50 %) | 50 % (50 % to 50 %) |" in text
    assert "| ours | 24 | 24 | 0.50 | 60 | 2.00 |" in text
    assert "| theirs | 24 | 24 | 1.50 | 60 | 0.33 |" in text


def test_one_failed_point_fails_a_pair(programs: SimpleNamespace, sheet: Path) -> None:
    """A pair passes only when all six points are yes."""
    rows: list[dict[str, Any]] = rows_of(sheet)  # type: ignore[assignment]
    for row in rows:
        row.update(dict.fromkeys(programs.sheets.POINTS, "y"), worth="n")
    programs.sheets.write(sheet, programs.sheets.SHEET, rows)
    assert [line.passes.mean for line in programs.table.lines(programs.table.judged(sheet), "ours")] == [0.0, 0.0]


def test_rows_without_a_verdict_are_left_out(programs: SimpleNamespace, sheet: Path) -> None:
    """A sheet may be judged in part; half a verdict, or another letter, is refused with the item."""
    fill_in(programs.sheets, sheet, {"001": "y", "004": "n"})
    assert len(programs.table.judged(sheet)) == 2
    fill_in(programs.sheets, sheet, {"001": "y", "004": "?"})
    with pytest.raises(ValueError, match="item 004: every point needs y or n"):
        programs.table.judged(sheet)


def test_every_paper_is_freely_licensed() -> None:
    """The papers whose passages the sheets quote are under licences that allow it."""
    with (QUALITY / "papers.csv").open(newline="") as file:
        papers = list(csv.DictReader(file))
    assert len(papers) >= 12
    assert all(paper["licence"].startswith("CC BY") and "N" not in paper["licence"][5:] for paper in papers)


@pytest.mark.parametrize("name", SHEETS)
def test_the_page_has_the_tables_of_the_sheets(programs: SimpleNamespace, name: str) -> None:
    """The tables in docs/quality.md are what table.py draws from the sheets and the costs that are kept."""
    page = (QUALITY.parents[1] / "docs" / "quality.md").read_text("utf-8")
    found = programs.table.lines(programs.table.judged(QUALITY / "sheets" / f"{name}.csv"), "stated")
    costs = programs.table.paid([QUALITY / "made" / "rivals", QUALITY / "made" / name])
    for table in programs.table.drawn(found, costs).split("\n\n"):
        assert table in page


def test_the_kept_sheet_quotes_listed_papers_only(programs: SimpleNamespace) -> None:
    """Every passage of a kept sheet comes from a paper of papers.csv."""
    listed = {row["sha256"][:16] for row in rows_of(QUALITY / "papers.csv")}
    for key in (QUALITY / "sheets").glob("*.key.csv"):
        assert {row["paper_id"] for row in rows_of(key)} <= listed
