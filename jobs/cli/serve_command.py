"""`gristmill serve`: a run in a browser, beside a process that works on it or after it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.run.folder import RunFolder
    from jobs.serve.live import Live
    from jobs.session import Session

    Serving = Callable[[Session, Callable[[str], None]], AbstractAsyncContextManager[None]]

__all__ = ["add_address", "add_serve", "add_serving", "served", "serving_of"]

_HERE = "127.0.0.1"


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
        default=_HERE,
        metavar="ADDRESS",
        help="serve at this address (default: 127.0.0.1, this machine alone); another one needs a password in the "
        "environment variable GRISTMILL_PASSWORD",
    )
    parser.add_argument("--port", type=int, metavar="PORT", help="serve at this port (default: 8631, or a free one)")


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Add ``--serve`` and its address to a command that works on a run."""
    parser.add_argument("--serve", action="store_true", help="show the run in a browser while this process works on it")
    add_address(parser)


def serving_of(arguments: argparse.Namespace) -> Serving | None:
    """How the run is served while this process works on it; None where it is not asked for.

    Raises `BadInput` for an address without ``--serve``.
    """
    from engine.errors import BadInput

    if arguments.serve:
        return partial(_beside, bind=arguments.bind, port=arguments.port)
    if arguments.port is not None or arguments.bind != _HERE:
        raise BadInput("--bind and --port go with --serve")
    return None


@asynccontextmanager
async def _beside(session: Session, tell: Callable[[str], None], *, bind: str, port: int | None) -> AsyncIterator[None]:
    """The run of `session` is served inside; the pages are sent its end before the server ends."""
    from jobs.serve.live import Live

    live = Live(session.traffic, session.limits)
    async with served(session.work.folder, bind=bind, port=port, live=live) as address:
        tell(f"see it at {address}")
        try:
            yield
        finally:
            live.working = False


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
async def served(
    folder: RunFolder, *, bind: str = _HERE, port: int | None = None, live: Live | None = None
) -> AsyncIterator[str]:
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
        site = Site(
            folder=folder,
            datasets=folder.datasets(),
            access=access,
            workers=workers,
            live=live,
        )
        async with serving(site, bind=bind, port=port) as address:
            yield address
