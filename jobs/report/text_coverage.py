"""How much of the papers' text stands in chunks, what was left out of it by kind, and which chunks are asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from jobs.generation.worth_asking import WorthAsking
from jobs.records import Chunk

__all__ = ["ReadPaper", "TextCoverage", "text_coverage"]


class ReadPaper(msgspec.Struct, frozen=True, kw_only=True):
    """One paper: its pages (0 where its kind of file has none), characters in chunks, and those left out by kind."""

    id: str
    title: str
    pages: int
    characters: int
    left_out: dict[str, int]
    chunks: int = 0
    asked: int = 0


class TextCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """All papers that were parsed; those of an earlier release, which counted nothing, have no pages and characters.

    ``asked`` counts the chunks that are worth a question, ``skipped`` the others by the reason.
    """

    papers: int = 0
    pages: int = 0
    characters: int = 0
    left_out: dict[str, int] = {}
    chunks: int = 0
    asked: int = 0
    skipped: dict[str, int] = {}


def text_coverage(chunks: Iterable[Chunk], worth: WorthAsking) -> tuple[TextCoverage, list[ReadPaper]]:
    """The whole, and each paper, from the rows of chunks, in which those of one paper stand together."""
    read: dict[str, ReadPaper] = {}
    counts: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for chunk in chunks:
        if chunk.paper_id not in read:
            read[chunk.paper_id] = _read(chunk)
        counts[chunk.paper_id] += 1
        reason = worth.reason(chunk)
        if reason:
            skipped[reason] += 1
        else:
            asked[chunk.paper_id] += 1
    papers = [msgspec.structs.replace(each, chunks=counts[id_], asked=asked[id_]) for id_, each in read.items()]
    left_out: Counter[str] = Counter()
    for paper in papers:
        left_out.update(paper.left_out)
    whole = TextCoverage(
        papers=len(papers),
        pages=sum(paper.pages for paper in papers),
        characters=sum(paper.characters for paper in papers),
        left_out=dict(sorted(left_out.items())),
        chunks=counts.total(),
        asked=asked.total(),
        skipped=dict(sorted(skipped.items())),
    )
    return whole, papers


def _read(first: Chunk) -> ReadPaper:
    text = first.paper_text
    return ReadPaper(
        id=first.paper_id,
        title=first.title,
        pages=text.pages if text else 0,
        characters=text.characters if text else 0,
        left_out=text.left_out if text else {},
    )
