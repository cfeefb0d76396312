"""The page Pairs: every pair of the run in a table, with search, filters and order."""

from __future__ import annotations

import asyncio

from aiohttp import web

from jobs.review.decisions import DECISIONS
from jobs.serve.asked_for import PER_PAGE, SECONDS, chosen, number, paging, words
from jobs.serve.pair_lines import ORDERS
from jobs.serve.pair_marks import JOBS, PairQuery
from jobs.serve.site import SITE
from jobs.serve.templates import page

__all__ = ["ROUTES"]


async def _pairs(request: web.Request) -> web.Response:
    pairs = request.app[SITE].pairs
    query = PairQuery(
        text=words(request, "text"),
        job=chosen(request, "job", JOBS),
        split=chosen(request, "split", ("train", "val", "both")),
        decision=words(request, "decision"),
        reviewed=chosen(request, "reviewed", ("yes", "no", *DECISIONS)),
        critic=number(request, "critic", 5),
        judge=number(request, "judge", 5),
        order=chosen(request, "order", ORDERS),
    )
    first = (max(1, number(request, "page")) - 1) * PER_PAGE
    lines, total, looked = await asyncio.to_thread(pairs.page, query, first, PER_PAGE, SECONDS)
    return await page(
        request,
        "pairs.html.j2",
        query=query,
        jobs=JOBS,
        lines=lines,
        reasons=pairs.reasons(),
        paging=paging(request, query, total, looked),
    )


ROUTES = (web.get("/pairs", _pairs),)
