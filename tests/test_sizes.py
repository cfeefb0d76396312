"""How large a module, a function and a list of parameters may be, so that each can be read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from sources import Source, sources

pytestmark = pytest.mark.xdist_group("sources")
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 350, 45, 6


def modules() -> list[Source]:
    return sources("engine") + sources("jobs")


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module in modules():
        for node in module.nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{module.path}:{node.lineno} {node.name}", node


def test_no_module_is_long() -> None:
    """A module has at most 350 lines."""
    assert not [module.path for module in modules() if module.text.count("\n") > MODULE_LINES]


def test_no_function_is_long() -> None:
    """A function has at most 45 lines, its docstring included."""
    lines = ((name, (node.end_lineno or 0) - node.lineno + 1) for name, node in functions())
    assert not [name for name, count in lines if count > FUNCTION_LINES]


def test_many_parameters_have_a_reason() -> None:
    """A function with more than six parameters says in its docstring why: "Parameters: …"."""
    wide = [
        name
        for name, node in functions()
        if _parameters(node) > PARAMETERS and "Parameters:" not in (ast.get_docstring(node) or "")
    ]
    assert not wide


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")])
