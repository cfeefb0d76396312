"""A served run for tests of its pages: its site over a folder, and a client that is let in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from engine.workers import Workers
from jobs.run.folder import RunFolder
from jobs.serve.access import HEADER, Access
from jobs.serve.app import build_app
from jobs.serve.site import Site

__all__ = ["Client", "client", "site"]

Client = TestClient


def site(folder: Path, *, password: str = "") -> Site:
    """The site of the run in `folder`, whose workers are not started."""
    run = RunFolder(folder)
    return Site(folder=run, datasets=run.datasets(), access=Access(password=password), workers=Workers(processes=1))


@asynccontextmanager
async def client(of: Site, *, signed_in: bool = True) -> AsyncIterator[TestClient]:
    """A browser's part against the pages of `of`; with `signed_in` it has the cookie, and the header of changes."""
    headers = {HEADER: of.access.header} if signed_in else {}
    async with TestClient(TestServer(build_app(of)), headers=headers) as made:
        if signed_in:
            await made.get("/", params={"token": of.access.token})
        yield made
