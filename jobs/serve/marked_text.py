"""Text in parts, so that what a pair relies on can be marked where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec

from jobs.generation.quotes import find_passage
from jobs.records import Chunk, Pair

__all__ = ["Part", "Span", "marked", "spans_of"]


class Span(msgspec.Struct, frozen=True):
    """Characters ``start`` to ``end`` (exclusive) of a text."""

    start: int
    end: int


class Part(msgspec.Struct, frozen=True):
    """A part of a text; ``of`` are the keys of the spans that it stands in."""

    text: str
    of: tuple[str, ...]


def spans_of(pair: Pair, chunk: Chunk) -> list[Span]:
    """Where the quotes of `pair`, or else its evidence, stand in the text of `chunk`, which is one of its chunks."""
    if chunk.id == pair.second_chunk_id:
        place = find_passage(pair.second_evidence, chunk.text)
        return [Span(*place)] if place else []
    if pair.quotes:
        return [Span(max(0, quote.start), min(len(chunk.text), quote.end)) for quote in pair.quotes]
    place = find_passage(pair.evidence, chunk.text)
    return [Span(*place)] if place else []


def marked(text: str, spans: Mapping[str, Iterable[Span]]) -> list[Part]:
    """`text`, whole, cut where a span begins or ends."""
    placed = [(key, span) for key, each in spans.items() for span in each if span.start < span.end]
    cuts = sorted({0, len(text), *(edge for _, span in placed for edge in (span.start, span.end))})
    return [
        Part(text[start:end], tuple(key for key, span in placed if span.start <= start and end <= span.end))
        for start, end in pairwise(cuts)
    ]
