"""Imports that take seconds (LanceDB, LlamaIndex's evaluators, openai), made at their first use without blocking the
loop.

One thread makes all of them, one after the other. If two threads imported packages that need each other, each would
wait for the other, and Python would break the deadlock by giving one of them a half-initialised module. A thread of
their own also leaves the threads that write to the disk free.
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
    """The module `name`, fully imported; raises what its import raises."""
    if name not in _modules:
        _modules[name] = await asyncio.get_running_loop().run_in_executor(_importer, importlib.import_module, name)
    return _modules[name]
