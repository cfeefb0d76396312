"""The job `parse`: from a paper to its chunks, in a worker process; what cannot be read ends as a counted failure."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import Permanent
from engine.job import Item, Job, ShardRows
from engine.records import make_id
from engine.requests import Call
from engine.workers import Workers
from jobs.parsing.cleaning import CLEANING_VERSION, clean, letters_and_digits, printable
from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.leaders import CONTENTS, is_contents
from jobs.parsing.numbers import is_mostly_numbers
from jobs.parsing.parsers import AUTO, HEAD_BYTES, Options, choose, load
from jobs.parsing.source import MAX_BYTES, Source, read_source
from jobs.parsing.split import BOTH, chunk_key, paper_key, side
from jobs.records import Chunk, LeftOut, Paper, PaperText

__all__ = ["ClaimText", "Settings", "parse", "read_paper", "warm_up"]

ClaimText = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[str]]]
"""From pairs of text digest and paper id to the id of the paper that owns each text: the first that ever claimed it."""

WARM_UP = f"{__name__}:warm_up"
"""The initializer of worker processes that parse."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the chunks of a paper; it travels to the worker with each.

    ``chunk_size`` and ``chunk_overlap`` are in tokens; ``split_by`` is "paper", "chunk" or "question"; ``train`` is the
    share of the training side, drawn by ``seed``. ``parser`` is a name of `jobs.parsing.parsers`, and ``options`` are
    what parsers are asked for; ``max_bytes`` bounds the size of a paper.
    """

    chunk_size: int
    chunk_overlap: int
    split_by: str
    train: float
    seed: int
    parser: str = AUTO
    options: Options = Options()
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if self.split_by not in ("paper", "chunk", "question"):
            raise ValueError(f'split_by is {self.split_by!r}: set it to "paper", "chunk" or "question"')

    def fingerprint(self) -> dict[str, Any]:
        """What of it changes the meaning of chunks: all but the bound, which only refuses.

        A PDF gives the same under the names "auto" and "pdf", so neither is in it.
        """
        meaning = msgspec.structs.asdict(self)
        del meaning["max_bytes"], meaning["options"]
        if self.parser in (AUTO, "pdf"):
            del meaning["parser"]
        return {**meaning, **self.options.fingerprint(), "cleaning": CLEANING_VERSION}


def parse(*, workers: Workers, settings: Settings, claim_text: ClaimText) -> Job:
    """Papers in, chunks out. A paper whose text another one has already claimed is a "duplicate"."""

    async def process(paper: Paper, call: Call) -> Sequence[Chunk]:
        return await workers.run(read_paper, (paper, settings))

    async def review(claims: Sequence[Sequence[str]]) -> Mapping[str, Permanent]:
        return await _duplicates(claims, claim_text)

    return Job(
        name="parse",
        reads=("papers",),
        writes="chunks",
        row=Chunk,
        expand=_papers,
        process=process,
        review=review,
        claims=_claims,
        fingerprint=settings.fingerprint(),
        versions=frozenset(["cleaning"]),
        slots=2 * workers.processes,
    )


def _papers(rows: ShardRows) -> list[Item]:
    return [Item(id=paper.id, value=paper) for paper in rows["papers"]]


def warm_up() -> None:
    """Import what every paper needs, before the first one's time is measured."""
    from jobs.parsing import chunks, pdf

    pdf.warm_up()
    chunks.warm_up()
    gc.freeze()  # what is loaded stays: no collection needs to look at it again


def read_paper(job: tuple[Paper, Settings]) -> list[Chunk]:
    """All of the work on one paper, for a worker process; raises `Permanent` with a kind of `jobs.parsing.failures.Kind`."""
    from jobs.parsing.chunks import (
        chunk_pages,
    )  # in the worker alone: the run's own process sends its first request sooner

    paper, settings = job
    source = Source.of(paper)
    data = read_source(source, max_bytes=settings.max_bytes)
    parser = load(choose(settings.parser, source.path, data[:HEAD_BYTES]))
    extracted = parser(data, source.path, settings.options)
    key = paper_key(extracted.title, "\n".join(extracted.pages))
    title = extracted.title or clean(source.label) or paper.id
    pieces = chunk_pages(
        extracted.pages,
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
        headings=extracted.headings,
        parts=extracted.parts,
        tables=extracted.tables,
    )
    return [
        Chunk(
            id=make_id("chunk", paper.id, position, piece.with_header),
            parent=paper.id,
            paper_id=paper.id,
            title=title,
            position=position,
            text=piece.with_header,
            page_first=piece.page_first if extracted.paged else 0,
            page_last=piece.page_last if extracted.paged else 0,
            split=_side(settings, key, piece.with_header),
            note=extracted.note,
            section=piece.section,
            mostly_numbers=is_mostly_numbers(piece.text),
            part=_part(piece.part, piece.text, settings.options),
            paper_text=None if position else _paper_text(extracted),
        )
        for position, piece in enumerate(pieces)
    ]


def _part(part: str, text: str, options: Options) -> str:
    if part and options.references == "mark":
        return part
    return CONTENTS if is_contents(text) else ""


def _paper_text(extracted: Extracted) -> PaperText:
    first_page = 1 if extracted.paged else 0
    return PaperText(
        pages=len(extracted.pages) if extracted.paged else 0,
        characters=sum(map(len, extracted.pages)),
        left_out=extracted.left_out,
        omitted=[
            LeftOut(kind=each.kind, page=each.page + first_page, text=printable(each.text))
            for each in extracted.omitted
        ],
    )


def _side(settings: Settings, paper: str, text: str) -> str:
    if settings.split_by == "question":
        return BOTH
    return side(
        seed=settings.seed, key=paper if settings.split_by == "paper" else chunk_key(text), train=settings.train
    )


async def _duplicates(claims: Sequence[Sequence[str]], claim_text: ClaimText) -> dict[str, Permanent]:
    """The papers, by id, whose text belongs to another paper. `claims` come in the order of the shard."""
    owners = await claim_text([(digest, paper) for digest, paper in claims])
    return {
        paper: failed("duplicate", f"paper {owner}")
        for (_, paper), owner in zip(claims, owners, strict=True)
        if owner != paper
    }


def _claims(rows: Sequence[Chunk]) -> list[tuple[str, str]]:
    """For each paper, in order: the digest of its text, and its id."""
    texts: dict[str, list[str]] = {}
    for chunk in rows:
        texts.setdefault(chunk.paper_id, []).append(letters_and_digits(chunk.text))
    return [(make_id("text", *parts), paper) for paper, parts in texts.items()]
