"""Imports that take seconds, made when they are first needed, in a thread, so that the event loop goes on.

One thread makes them all, one after the other. Two threads that import packages which need each other, as LanceDB and
LlamaIndex may, would wait for each other; Python breaks such a knot by giving one of them a module that is half made. And
hundreds of tasks that wait for an import would take the threads that write to the disk.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType, ModuleType

from engine.events import Event, JobStarted, ShardOpened

__all__ = ["Foresight", "imported"]

_importer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imports")
_modules: dict[str, ModuleType] = {}


async def imported(name: str) -> ModuleType:
    """The module `name`, fully loaded."""
    if name not in _modules:
        _modules[name] = await asyncio.get_running_loop().run_in_executor(_importer, importlib.import_module, name)
    return _modules[name]


class Foresight:
    """A hook that begins an import before it is needed: while papers are parsed, what their chunks will be asked with.

    ``soon`` gives for a job the module to load once it has something to do, and the job that will need it: where that
    has not begun, as with ``--until parse``, nothing is loaded, and neither where all is done.
    """

    def __init__(
        self, soon: Mapping[str, tuple[str, str]] = MappingProxyType({"parse": ("jobs.models.llama_index", "answer")})
    ) -> None:
        self._soon = dict(soon)
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        if isinstance(event, JobStarted):
            self._begun.add(event.job)
        elif isinstance(event, ShardOpened) and event.job in self._soon and event.done < event.inputs:
            module, needed_by = self._soon[event.job]
            if needed_by in self._begun:
                del self._soon[event.job]
                _importer.submit(importlib.import_module, module)
