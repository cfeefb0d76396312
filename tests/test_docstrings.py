"""What a public docstring must say."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from sources import sources

pytestmark = pytest.mark.xdist_group("sources")

ERRORS = {"BadInput", "Fatal", "Malformed", "Permanent", "Transient", "ValueError"}


def public_functions(node: ast.AST, named: str, said: str = "") -> Iterator[tuple[str, ast.AST, str]]:
    """Every public function and method below `node`, by its place, with its docstring; a constructor has its class's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, f"{named} {child.name}", ast.get_docstring(child) or "")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if child.name == "__init__":
                yield named, child, said
            elif not child.name.startswith("_"):
                yield f"{named} {child.name}", child, ast.get_docstring(child) or ""


def raised(node: ast.AST) -> set[str]:
    """The names of the errors that a function raises itself, not in functions inside it."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call) and isinstance(child.exc.func, ast.Name):
            found.add(child.exc.func.id)
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found |= raised(child)
    return found


def test_what_is_raised_is_said() -> None:
    """A public function that raises an error says so in its docstring."""
    silent, count = [], 0
    for module in sources("engine") + sources("jobs"):
        for name, function, said in public_functions(module.tree, module.path):
            if raised(function) & ERRORS:
                count += 1
                silent += [name] if "aise" not in said else []
    assert count > 70
    assert not silent
