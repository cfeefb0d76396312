"""Imports that take seconds (LanceDB, LlamaIndex's evaluators, openai), made at their first use without blocking the loop.

One thread makes them all, one after the other. Two threads that import packages which need each other would wait for each
other, and Python breaks such a knot by giving one of them a module that is half made. Nor do tasks that wait for an import
take the threads that write to the disk.
"""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

__all__ = ["imported"]

_importer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imports")
_modules: dict[str, ModuleType] = {}


async def imported(name: str) -> ModuleType:
    """The module `name`, fully loaded."""
    if name not in _modules:
        _modules[name] = await asyncio.get_running_loop().run_in_executor(_importer, importlib.import_module, name)
    return _modules[name]
