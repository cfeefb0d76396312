"""A worker of a run, as a process of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from engine.cluster.place import Place
from engine.cluster.subprocesses import serve
from engine.processes import usable_cores
from engine.workers import Workers
from jobs.cluster.setup import Setup

__all__ = ["built", "main"]


def main() -> None:
    """What the process calls."""
    serve(built)


@asynccontextmanager
async def built(setup: bytes) -> AsyncIterator[Place]:
    """The worker, from what the head sends first. Raises `Fatal` where it cannot be built."""
    given = Setup.decoded(setup)
    async with AsyncExitStack() as stack:
        processes = given.parsers["processes"] or usable_cores()
        workers = Workers(**{**given.parsers, "processes": processes})
        await stack.enter_async_context(workers)
        if given.begins:
            workers.begin(children=processes)
            await asyncio.sleep(0)  # the children start before the imports, which block
        building: Any = import_module("jobs.cluster.building")
        yield await building.worker(stack, given, workers)
