"""The modules of `engine` and `jobs` as code, for the tests that read it.

These tests have the mark ``xdist_group("sources")``, so that one process reads and parses the modules, once.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Source(NamedTuple):
    """A module: its dotted name, its path below the repository, its text, its tree, and all nodes of that."""

    name: str
    path: str
    text: str
    tree: ast.Module
    nodes: list[ast.AST]


@cache
def sources(package: str) -> list[Source]:
    """The modules of a package, in the order of their paths."""
    found = []
    for file in sorted((ROOT / package).rglob("*.py")):
        path = file.relative_to(ROOT)
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        text = file.read_text("utf-8")
        tree = ast.parse(text)
        found.append(Source(name, path.as_posix(), text, tree, list(ast.walk(tree))))
    return found
