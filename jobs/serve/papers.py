"""The page Papers: every paper of the run in a table, with search, filters and order."""

from __future__ import annotations

import asyncio

from aiohttp import web

from jobs.serve.asked_for import PER_PAGE, SECONDS, chosen, number, paging, words
from jobs.serve.paper_lines import ORDERS, PARSED, WAITING, PaperQuery
from jobs.serve.site import SITE
from jobs.serve.templates import page

__all__ = ["ROUTES"]


async def _papers(request: web.Request) -> web.Response:
    papers = request.app[SITE].papers
    kinds = await asyncio.to_thread(papers.states)
    query = PaperQuery(
        text=words(request, "text"),
        state=chosen(request, "state", {PARSED, WAITING, "failed", *kinds}),
        order=chosen(request, "order", ORDERS),
        **{name: number(request, name) for name in ("pages", "chunks", "kept", "refused")},
    )
    first = (max(1, number(request, "page")) - 1) * PER_PAGE
    lines, total, looked = await asyncio.to_thread(papers.page, query, first, PER_PAGE, SECONDS)
    return await page(
        request,
        "papers.html.j2",
        query=query,
        kinds=kinds,
        lines=lines,
        paging=paging(request, query, total, looked),
    )


ROUTES = (web.get("/papers", _papers),)
