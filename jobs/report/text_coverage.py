"""How much of the papers' text stands in chunks, what was left out of it by kind, and which chunks are asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from jobs.generation.worth_asking import WorthAsking
from jobs.records import Chunk

__all__ = ["ReadPaper", "TextCoverage", "read_papers", "text_coverage"]


class ReadPaper(msgspec.Struct, frozen=True, kw_only=True):
    """One paper: its pages (0 where its kind of file has none), characters in chunks, and those left out by kind.

    ``asked`` of its chunks are worth a question; ``skipped`` counts the others by the reason."""

    id: str
    title: str
    pages: int
    characters: int
    left_out: dict[str, int]
    chunks: int = 0
    asked: int = 0
    skipped: dict[str, int] = {}


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


def read_papers(chunks: Iterable[Chunk], worth: WorthAsking) -> Iterator[ReadPaper]:
    """Each paper, from the rows of chunks, in which those of one paper stand together; one paper in memory at a time."""
    for _, group in groupby(chunks, key=lambda chunk: chunk.paper_id):
        rows = list(group)
        reasons = Counter(worth.reason(chunk) or "" for chunk in rows)
        asked = reasons.pop("", 0)
        text = rows[0].paper_text
        yield ReadPaper(
            id=rows[0].paper_id,
            title=rows[0].title,
            pages=text.pages if text else 0,
            characters=text.characters if text else 0,
            left_out=text.left_out if text else {},
            chunks=len(rows),
            asked=asked,
            skipped=dict(sorted(reasons.items())),
        )


def text_coverage(papers: Iterable[ReadPaper]) -> TextCoverage:
    """All of `papers` together; they are taken one by one."""
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for paper in papers:
        counts.update(papers=1, pages=paper.pages, characters=paper.characters, chunks=paper.chunks, asked=paper.asked)
        left_out.update(paper.left_out)
        skipped.update(paper.skipped)
    return TextCoverage(left_out=dict(sorted(left_out.items())), skipped=dict(sorted(skipped.items())), **counts)
