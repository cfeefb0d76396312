"""`gristmill serve`: a run in a browser, beside a process that works on it or after it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.run.folder import RunFolder

__all__ = ["add_address", "add_serve", "served"]


def add_serve(commands: Any) -> None:
    """Add the command to `commands`."""
    text = "show the run in a browser: progress, papers, pairs; beside a running run, or after it"
    serve = commands.add_parser("serve", help=text, description=text)
    serve.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    add_address(serve)
    serve.set_defaults(command=_serve)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where to serve."""
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="serve at this address (default: 127.0.0.1, this machine alone); another one needs a password in the "
        "environment variable GRISTMILL_PASSWORD",
    )
    parser.add_argument("--port", type=int, metavar="PORT", help="serve at this port (default: 8631, or a free one)")


def _serve(arguments: argparse.Namespace) -> int:
    from jobs.run.folder import RunFolder

    folder = RunFolder(arguments.run)
    folder.config()
    try:
        asyncio.run(_until_stopped(folder, arguments.bind, arguments.port))
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


async def _until_stopped(folder: RunFolder, bind: str, port: int | None) -> None:
    async with served(folder, bind=bind, port=port) as address:
        print(f"{folder.path} is at {address}", flush=True)
        print("Ctrl-C ends the server; the run is not touched", file=sys.stderr)
        await asyncio.Event().wait()


@asynccontextmanager
async def served(folder: RunFolder, *, bind: str, port: int | None) -> AsyncIterator[str]:
    """The run of `folder` is served inside; yields the address to open. Raises `BadInput` where it cannot be."""
    from engine.workers import Workers
    from jobs.parsing.parse import WARM_UP
    from jobs.serve.access import Access
    from jobs.serve.app import serving
    from jobs.serve.site import Site

    access = Access.to(bind, os.environ)
    parsing = folder.config().parse
    workers = Workers(
        processes=1, timeout_s=parsing.timeout_s, memory_bytes=parsing.memory_mb << 20, initializer=WARM_UP
    )
    async with workers:
        site = Site(folder=folder, datasets=folder.datasets(), access=access, workers=workers)
        async with serving(site, bind=bind, port=port) as address:
            yield address
