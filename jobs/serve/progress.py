"""The page Progress: how far each job is, sent to the page as it changes."""

from __future__ import annotations

import msgspec
from aiohttp import web

from jobs.serve.feed import Feed
from jobs.serve.templates import page

__all__ = ["FEED", "ROUTES"]

FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)

_AGAIN_MS = 1000


async def _progress(request: web.Request) -> web.Response:
    """The page with the figures of now, which are the whole of it where no script runs."""
    return await page(request, "progress.html.j2", now=await request.app[FEED].now())


async def _events(request: web.Request) -> web.StreamResponse:
    """Server-sent events; a browser that connects again names the last one that it has seen."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    await response.write(b"retry: %d\n\n" % _AGAIN_MS)
    messages = request.app[FEED].messages(request.headers.get("Last-Event-ID", ""))
    try:
        async for message in messages:
            await response.write(b"id: %b\ndata: %b\n\n" % (message.id.encode(), msgspec.json.encode(message)))
    except ConnectionResetError:  # the page was closed
        pass
    finally:
        await messages.aclose()
    return response


async def _state(request: web.Request) -> web.Response:
    """The figures as JSON, for programs."""
    body = msgspec.json.encode(await request.app[FEED].now())
    return web.Response(body=body, content_type="application/json", charset="utf-8")


ROUTES = (web.get("/", _progress), web.get("/progress/events", _events), web.get("/progress.json", _state))
