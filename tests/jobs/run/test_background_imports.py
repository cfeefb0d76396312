from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jobs.run.background_imports import imported


@pytest.fixture
def knot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Two modules that need each other, and that take their time; `ready` is their last name."""
    names = (f"left_{request.node.name}", f"right_{request.node.name}")
    for name, other in (names, names[::-1]):
        lines = ["import time", "time.sleep(0.1)", f"import {other} as other", "time.sleep(0.1)", "ready = True"]
        (tmp_path / f"{name}.py").write_text("\n".join(lines), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return names


async def test_imports_at_once_are_whole(knot: tuple[str, str]) -> None:
    """Whoever imports at the same time what needs each other gets modules that are whole, all that they need too."""

    async def whole(name: str) -> bool:
        module = await imported(name)
        return hasattr(module, "ready") and hasattr(module.other, "ready")

    assert await asyncio.gather(*(whole(name) for name in knot)) == [True, True]


async def test_imports_take_no_thread_from_the_disk(knot: tuple[str, str]) -> None:
    """While hundreds wait for an import, what is to be done in other threads is done."""
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(imported(knot[0])) for _ in range(200)]
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
        assert not any(task.done() for task in waiting)


async def test_what_is_not_there(knot: tuple[str, str]) -> None:
    """A module that cannot be imported raises as an import does, and stands in nobody's way."""
    with pytest.raises(ModuleNotFoundError):
        await imported("gristmill_no_such_module")
    assert (await imported("json")).loads("1") == 1
