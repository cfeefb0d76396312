"""The application: its pages, its files, and the server that they are served by."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from aiohttp import web

from engine.errors import BadInput
from jobs.serve import pair, pairs, paper, papers, progress, review, security, sheets
from jobs.serve.feed import Feed
from jobs.serve.review_desk import Desk
from jobs.serve.site import SITE, Site
from jobs.serve.watch import Watch

__all__ = ["PORT", "build_app", "serving"]

PORT = 8631
"""The port where none is named; another free one where it is taken."""

_PAGES = (security, progress, papers, paper, sheets, pairs, pair, review)
"""The modules with pages: each has `ROUTES`."""

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_REPORT_STYLE = Path(__file__).parents[1] / "report" / "templates" / "style.css"


def build_app(site: Site) -> web.Application:
    """The application that serves the pages of `site`."""
    app = web.Application(middlewares=security.MIDDLEWARES, client_max_size=2**20)
    app[SITE] = site
    app[sheets.SHEETS] = sheets.Sheets()
    app[progress.FEED] = Feed(Watch(site.folder, site.committed, site.live), site.live)
    app[review.DESK] = Desk(site)
    app.on_response_prepare.append(security.add_headers)
    app.add_routes([web.get("/static/{name}", _file), *(route for module in _PAGES for route in module.ROUTES)])
    return app


@asynccontextmanager
async def serving(site: Site, *, bind: str = "127.0.0.1", port: int | None = None) -> AsyncIterator[str]:
    """Serve `site` inside; yields the address to open, with its token. Raises `BadInput` for one that cannot be had."""
    app = build_app(site)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)  # a log would hold the token
    await runner.setup()
    try:
        await _listen(runner, bind, port)
        host, its_port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        token = "" if site.access.password else f"?token={site.access.token}"
        async with app[progress.FEED].looking():
            yield f"http://{shown}:{its_port}/{token}"
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, bind: str, port: int | None) -> None:
    for number in [PORT, 0] if port is None else [port]:
        try:
            await web.TCPSite(runner, bind, number).start()
        except OSError as error:
            if port is None and number and error.errno == errno.EADDRINUSE:
                continue
            raise BadInput(f"cannot serve at {bind} port {number}: {error.strerror or error}") from error
        return


async def _file(request: web.Request) -> web.Response:
    """One of the package's own files, by its name in a table: a request never names a path."""
    found = _files().get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound(text="There is no such file.")
    body, content_type = found
    return web.Response(body=body, content_type=content_type, charset="utf-8")


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    paths = {path.name: path for path in Path(__file__).with_name("static").iterdir() if path.suffix in _TYPES}
    paths["report.css"] = _REPORT_STYLE
    return {name: (path.read_bytes(), _TYPES[path.suffix]) for name, path in paths.items()}
