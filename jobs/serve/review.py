"""The page Review: one pair after the other, decided on by keyboard; a decision is on disk before the page says saved."""

from __future__ import annotations

import asyncio
import getpass
from typing import Any

import msgspec
from aiohttp import web

from engine.errors import BadInput, GristmillError
from jobs.run.folder import beginning
from jobs.serve.asked_for import chosen, number, words
from jobs.serve.review_desk import Decided, Desk
from jobs.serve.review_queue import KINDS, LONGEST, QueueAsked
from jobs.serve.site import SITE
from jobs.serve.templates import page

__all__ = ["DESK", "ROUTES"]

DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)

_REASONS = ("wrong", "not in the text", "unclear", "trivial", "repeats another")
"""Reasons of a rejection that a digit stands for."""


async def _review(request: web.Request) -> web.Response:
    """The page. Its script asks for the pairs, and says for which browser."""
    site, asked = request.app[SITE], _asked(request)
    if await asyncio.to_thread(beginning, site.datasets) == "pairs":
        return await page(request, "review_none.html.j2")
    total = len(await asyncio.to_thread(_desk(request).queue, asked))
    at = min(number(request, "at"), total) or ""
    return await page(request, "review.html.j2", asked=asked, total=total, at=at, longest=LONGEST)


async def _next(request: web.Request) -> web.Response:
    """The place, from 1, of the first pair that is neither decided nor being looked at."""
    at = await asyncio.to_thread(_desk(request).next, _asked(request), words(request, "browser"))
    return _json({"next": None if at is None else at + 1}, 200)


async def _card(request: web.Request) -> web.Response:
    """The part of the page that is another for each pair."""
    at, browser = number(request, "at") - 1, words(request, "browser")
    card = await asyncio.to_thread(_desk(request).card, _asked(request), at, browser)
    if card is None:
        raise web.HTTPNotFound(text="There is no such place in the queue.")
    return await page(request, "review_card.html.j2", card=card, reasons=_REASONS)


async def _decide(request: web.Request) -> web.Response:
    """Save a decision. The answer comes when it is on disk; an error says that it is not."""
    try:
        decided = msgspec.json.decode(await request.read(), type=Decided)
        saved = await asyncio.to_thread(_desk(request).save, decided, _fallback(request))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _json({"error": f"this is no decision: {error}"}, 400)
    except BadInput as error:
        return _json({"error": str(error)}, 409)
    except (GristmillError, OSError) as error:
        return _json({"error": str(error)}, 500)
    return _json({**msgspec.to_builtins(saved), "next": None if saved.next is None else saved.next + 1}, 200)


def _json(value: dict[str, Any], status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _desk(request: web.Request) -> Desk:
    return request.app[DESK]


def _fallback(request: web.Request) -> str:
    """Who decides where no name is given: on this machine alone the one who has started the server."""
    try:
        return "unnamed" if request.app[SITE].access.password else getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return "unnamed"


def _asked(request: web.Request) -> QueueAsked:
    if pair := words(request, "pair"):
        return QueueAsked(kind="", size=1, shard=number(request, "shard"), pair=pair)
    size = number(request, "size", LONGEST) or QueueAsked().size
    return QueueAsked(kind=chosen(request, "kind", KINDS) or KINDS[0], seed=number(request, "seed"), size=size)


ROUTES = (
    web.get("/review", _review),
    web.get("/review/next", _next),
    web.get("/review/card", _card),
    web.post("/review/decisions", _decide),
)
