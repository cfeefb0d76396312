"""The pages of a paper as pictures, with the places of what is marked over them; drawn by a worker, the last few kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec
from aiohttp import web

from engine.errors import Permanent
from jobs.serve.page_drawing import Drawing, Drawn, Wanted, draw
from jobs.serve.paper import PaperStory, story_of
from jobs.serve.site import SITE, Site

__all__ = ["ROUTES", "SHEETS", "Sheets"]

_KEPT = 24
_PAGE = r"/papers/{shard:\d{1,9}}/{id}/pages/{number:[1-9]\d{0,5}}"


class Sheets:
    """Draws one page at a time, and keeps the last few: a page's picture and its marks are asked for one after the other."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[tuple[str, int], Drawn] = OrderedDict()
        self._drawing = asyncio.Lock()

    async def drawn(self, site: Site, story: PaperStory, page: int) -> Drawn:
        """The page with this number, from 1. Raises `Permanent` where it cannot be drawn."""
        async with self._drawing:
            key = (story.paper.id, page)
            if key not in self._drawn:
                drawing = Drawing(paper=story.paper, page=page, wanted=_wanted(story, page))
                self._drawn[key] = await site.workers.run(draw, drawing)
            self._drawn.move_to_end(key)
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
            return self._drawn[key]


def _wanted(story: PaperStory, page: int) -> list[Wanted]:
    """What may stand on a page: its chunks, what pairs of them rely on, and what was left out of it."""
    wanted = [Wanted("left", number, each.text) for number, each in enumerate(story.left_out) if each.page == page]
    for each in story.chunks:
        if each.chunk.page_first <= page <= each.chunk.page_last:
            wanted.append(Wanted("chunk", each.chunk.position, each.chunk.text))
            wanted += [Wanted("quote", int(number), part.text) for part in each.text for number in part.of]
    return wanted


SHEETS: web.AppKey[Sheets] = web.AppKey("sheets", Sheets)


async def _sheet(request: web.Request) -> Drawn:
    story = await story_of(request)
    number = int(request.match_info["number"])
    if not story.drawn or number > story.line.pages:
        raise web.HTTPNotFound(text="There is no such page.")
    return await request.app[SHEETS].drawn(request.app[SITE], story, number)


async def _picture(request: web.Request) -> web.Response:
    try:
        sheet = await _sheet(request)
    except Permanent as error:
        raise web.HTTPNotFound(text=str(error)) from error
    return web.Response(body=sheet.png, content_type="image/png", headers={"Cache-Control": "private, max-age=600"})


async def _marks(request: web.Request) -> web.Response:
    """The marks as JSON; where the page cannot be drawn, why not."""
    try:
        sheet = await _sheet(request)
    except Permanent as error:
        return web.json_response({"error": str(error)}, status=404)
    marks = msgspec.to_builtins(sheet.marks)
    return web.json_response({"width": sheet.width, "height": sheet.height, "marks": marks})


ROUTES = (web.get(_PAGE + ".png", _picture), web.get(_PAGE + ".json", _marks))
