"""What the documents say of the tests is true."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT

DOCUMENT = (ROOT / "docs" / "reliability.md").read_text("utf-8")
FAULTS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if line.startswith("| ") and not line.startswith("| fault ")
]


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0])
def test_every_fault_is_proved(row: list[str]) -> None:
    """Each fault in the table says what one sees and what is kept, and names at least one test, all of which exist."""
    fault, seen, _, proofs = row
    named = re.findall(r"`([^`]*)::([^`]*)`", proofs)
    assert fault
    assert seen
    assert named
    for path, name in named:
        assert name.startswith("test_")
        assert name in names_in(path)


def test_no_test_is_named_beside_the_table() -> None:
    """Every name of a test in the document stands where the test above looks for it."""
    assert len(FAULTS) > 40
    assert len(re.findall(r"::test_", DOCUMENT)) == sum(row[3].count("::test_") for row in FAULTS)


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("*.md")))
def test_files_that_are_named_exist(name: str) -> None:
    """Every path of a file or folder of ours in a document leads somewhere."""
    text = (ROOT / name).read_text("utf-8")
    paths = re.findall(r"(?<![\w/])((?:engine|jobs|tests|docs|examples|benchmarks)/[\w./-]*\w/?)", text)
    assert [path for path in dict.fromkeys(paths) if "NAME" not in path and not (ROOT / path).exists()] == []


def test_a_walk_goes_through_three_stories() -> None:
    """The walks of a paper, a request and a verdict stand in ARCHITECTURE.md, each as files in order."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Walks")[2].partition("\n## ")[0]
    for beginning in ("**A paper**", "**A request**", "**A verdict**"):
        walk = text.partition(beginning)[2].partition("\n\n")[0]
        assert walk.count("→") >= 8, beginning
