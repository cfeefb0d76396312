"""The page of one paper: its pages as pictures with the chunks marked over them, its pairs, and what was left out."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import msgspec
from aiohttp import web

from jobs import records as rows
from jobs.serve.asked_for import shard_of
from jobs.serve.marked_text import Part, marked, spans_of
from jobs.serve.paper_lines import PaperLine
from jobs.serve.site import SITE, Site
from jobs.serve.templates import page

__all__ = ["ROUTES", "PaperStory", "ShownChunk", "ShownPair", "paper_story", "story_of"]


class ShownPair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of the paper with its number on the page, from 1, and "kept", "undecided" or why it was refused."""

    number: int
    pair: rows.Pair
    decision: str


class ShownChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk of the paper with its pairs; ``text`` is marked where they rely on it, by their numbers."""

    chunk: rows.Chunk
    text: list[Part]
    pairs: list[ShownPair]


class PaperStory(msgspec.Struct, frozen=True, kw_only=True):
    """All that the run holds of one paper. ``drawn`` says whether its pages can be drawn: it is a PDF file."""

    paper: rows.Paper
    line: PaperLine
    chunks: list[ShownChunk]
    left_out: list[rows.LeftOut]
    note: str

    @property
    def drawn(self) -> bool:
        return self.line.pages > 0 and self.paper.offset is None


def paper_story(site: Site, shard: int, id_: str) -> PaperStory | None:
    """What the run holds of the paper `id_` of shard `shard`, None where there is no such paper; blocks."""
    paper = next((row for row in site.committed["papers"].rows(shard, rows.Paper) if row.id == id_), None)
    if paper is None:
        return None
    line = next(each for each in site.papers.shard(shard) if each.id == id_)
    chunks = [row for row in site.committed["chunks"].rows(shard, rows.Chunk) if row.paper_id == id_]
    text = next((chunk.paper_text for chunk in chunks if chunk.paper_text), None)
    return PaperStory(
        paper=paper,
        line=line,
        chunks=_shown(site, shard, id_, chunks),
        left_out=text.omitted if text else [],
        note=chunks[0].note if chunks else "",
    )


def _shown(site: Site, shard: int, id_: str, chunks: list[rows.Chunk]) -> list[ShownChunk]:
    decisions = {row.pair_id: row for row in site.committed["curated"].rows(shard, rows.Curated)}
    pairs = [row for row in site.committed["pairs"].rows(shard, rows.Pair) if row.paper_id == id_]
    of_chunk = defaultdict[str, list[rows.Pair]](list)
    for pair in pairs:
        of_chunk[pair.chunk_id].append(pair)
    shown, number = [], 0
    for chunk in chunks:
        own = [
            ShownPair(number=number + at, pair=pair, decision=_decision(decisions.get(pair.id)))
            for at, pair in enumerate(of_chunk[chunk.id], 1)
        ]
        number += len(own)
        spans = {str(each.number): spans_of(each.pair, chunk) for each in own}
        shown.append(ShownChunk(chunk=chunk, text=marked(chunk.text, spans), pairs=own))
    return shown


def _decision(curated: rows.Curated | None) -> str:
    if curated is None:
        return "undecided"
    return "kept" if curated.kept else curated.reason


async def _paper(request: web.Request) -> web.Response:
    return await page(request, "paper.html.j2", story=await story_of(request))


async def story_of(request: web.Request) -> PaperStory:
    """The paper that the address names. Raises `web.HTTPNotFound` where there is none."""
    story = await asyncio.to_thread(paper_story, request.app[SITE], shard_of(request), request.match_info["id"])
    if story is None:
        raise web.HTTPNotFound(text="There is no such paper in this run.")
    return story


ROUTES = (web.get(r"/papers/{shard:\d{1,9}}/{id}", _paper),)
