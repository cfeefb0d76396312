"""Imports that take seconds, made when they are first needed, in a thread, so that the event loop goes on.

One thread makes them all, one after the other. Two threads that import packages which need each other, as LanceDB and
LlamaIndex may, would wait for each other; Python breaks such a knot by giving one of them a module that is half made. And
hundreds of tasks that wait for an import would take the threads that write to the disk.
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
