"""The page of one pair: its chunk, how it was decided on, its contexts, and what every model answered, with its scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from aiohttp import web

from engine.records import Record
from jobs import records as rows
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.serve.asked_for import SECONDS, shard_of
from jobs.serve.marked_text import Part, marked, spans_of
from jobs.serve.site import SITE, Site
from jobs.serve.survey import Looked
from jobs.serve.templates import page

__all__ = ["ROUTES", "Answer", "PairStory", "pair_story"]

R = TypeVar("R", bound=Record)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One model's answer with all that was said of it."""

    response: rows.Response
    verdict: rows.Verdict | None
    similarity: rows.Similarity | None
    assessments: list[rows.Assessment]


class PairStory(msgspec.Struct, frozen=True, kw_only=True):
    """All that the run holds of one pair. ``text`` is the text of its chunk, with what it relies on marked, and
    ``second`` and ``second_text`` are the other chunk of a pair over two.

    ``passages`` are the chunks that contexts name, by id, as far as they were found: ``looked`` says how far.
    """

    shard: int
    pair: rows.Pair
    paper: rows.Paper | None
    chunk: rows.Chunk | None
    text: list[Part]
    second: rows.Chunk | None
    second_text: list[Part]
    curated: rows.Curated | None
    review: rows.Review | None
    critique: rows.Critique | None
    rank: int | None
    examples: list[rows.Example]
    answers: list[Answer]
    preferences: list[rows.Preference]
    passages: dict[str, rows.Chunk]
    looked: Looked


def pair_story(site: Site, shard: int, id_: str, seconds: float = SECONDS) -> PairStory | None:
    """What the run holds of the pair `id_` of shard `shard`, None where there is no such pair; blocks.

    Chunks in other shards are looked for during about `seconds`.
    """
    pair = next((row for row in _rows(site, "pairs", shard, rows.Pair) if row.id == id_), None)
    if pair is None:
        return None
    examples = [row for row in _rows(site, "examples", shard, rows.Example) if row.pair_id == id_]
    answers = _answers(site, shard, id_)
    contexts = [context for each in examples for context in each.contexts]
    contexts += [context for each in answers for context in each.response.contexts]
    wanted = {name for name in (*pair.chunk_ids, *(context.chunk_id for context in contexts)) if name}
    passages, looked = site.chunks.find(wanted, shard, seconds)
    chunk, second = passages.get(pair.chunk_id), passages.get(pair.second_chunk_id)
    probes = _rows(site, "probes", shard, rows.Probe)
    return PairStory(
        shard=shard,
        pair=pair,
        paper=next((row for row in _rows(site, "papers", shard, rows.Paper) if row.id == pair.paper_id), None),
        chunk=chunk,
        text=marked(chunk.text, {pair.id: spans_of(pair, chunk)}) if chunk else [],
        second=second,
        second_text=marked(second.text, {pair.id: spans_of(pair, second)}) if second else [],
        curated=next((row for row in _rows(site, "curated", shard, rows.Curated) if row.pair_id == id_), None),
        review=standing(ReviewLog(site.folder.reviews).rows(shard)).get(id_),
        critique=next((row for row in _rows(site, "critiques", shard, rows.Critique) if row.parent == id_), None),
        rank=next((row.rank for row in probes if row.parent == id_), None),
        examples=examples,
        answers=answers,
        preferences=[row for row in _rows(site, "preferences", shard, rows.Preference) if row.pair_id == id_],
        passages=passages,
        looked=looked,
    )


def _rows(site: Site, name: str, shard: int, kind: type[R]) -> Sequence[R]:
    return site.committed[name].rows(shard, kind)


def _answers(site: Site, shard: int, pair_id: str) -> list[Answer]:
    verdicts = {row.parent: row for row in _rows(site, "verdicts", shard, rows.Verdict)}
    similarities = {row.parent: row for row in _rows(site, "similarities", shard, rows.Similarity)}
    assessments = [row for row in _rows(site, "assessments", shard, rows.Assessment) if row.pair_id == pair_id]
    return [
        Answer(
            response=response,
            verdict=verdicts.get(response.id),
            similarity=similarities.get(response.id),
            assessments=[row for row in assessments if row.parent == response.id],
        )
        for response in _rows(site, "responses", shard, rows.Response)
        if response.pair_id == pair_id
    ]


async def _pair(request: web.Request) -> web.Response:
    story = await asyncio.to_thread(pair_story, request.app[SITE], shard_of(request), request.match_info["id"])
    if story is None:
        raise web.HTTPNotFound(text="There is no such pair in this run, or it was made again.")
    return await page(request, "pair.html.j2", story=story)


ROUTES = (web.get(r"/pairs/{shard:\d{1,9}}/{id}", _pair),)
