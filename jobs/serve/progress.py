"""The page Progress: how far each job is."""

from __future__ import annotations

import asyncio

from aiohttp import web

from jobs.report.collect import job_states
from jobs.serve.site import SITE
from jobs.serve.templates import page

__all__ = ["ROUTES"]


async def _progress(request: web.Request) -> web.Response:
    states = await asyncio.to_thread(job_states, request.app[SITE].datasets)
    return await page(request, "progress.html.j2", states=states)


ROUTES = (web.get("/", _progress),)
