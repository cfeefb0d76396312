"""The glossary names what the code has, and has what the code names."""

from __future__ import annotations

import ast
import re

import pytest
from sources import ROOT, sources

import engine

pytestmark = pytest.mark.xdist_group("sources")

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def test_its_names_exist() -> None:
    """Every name of code in the glossary is a class or a type of engine or jobs."""
    known: set[str] = set()
    for module in sources("engine") + sources("jobs"):
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.Assign):
                known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert not [name for name in re.findall(r"`([A-Z]\w+)`", GLOSSARY) if name not in known]


def test_public_terms_are_in_it() -> None:
    """The classes of the engine's public face have their word in the glossary."""
    errors_and_parts = {"BadInput", "Fatal", "GristmillError", "Permanent", "Transient", "Stopped", "ShardRows"}
    terms = {name for name in engine.__all__ if name[0].isupper()} - errors_and_parts
    assert not [name for name in sorted(terms) if f"`{name}`" not in GLOSSARY]


def test_one_word_has_one_line() -> None:
    """No word is explained twice."""
    words = [word for line in GLOSSARY.splitlines() if line.startswith("| ") for word in line.split("|")[1].split(", ")]
    words = [word.strip() for word in words if word.strip() != "word"]
    assert len(words) == len(set(words))
