"""Imports that take seconds, made in a thread when they are first needed, so that the event loop goes on."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

__all__ = ["imported"]

_modules: dict[str, ModuleType] = {}


async def imported(name: str) -> ModuleType:
    """The module `name`, fully loaded."""
    if name not in _modules:
        _modules[name] = await asyncio.to_thread(importlib.import_module, name)
    return _modules[name]
