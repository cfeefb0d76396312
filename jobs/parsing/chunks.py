"""Chunks: overlapping pieces of a paper with a bounded number of tokens, made of whole sentences where they fit.

They are those of LlamaIndex's `SentenceSplitter` with its default tokenizer (cl100k_base), its sentence tokenizer
(NLTK's Punkt, untrained) and its separators: a test holds that both give the same chunks. It is done again here
because a chunk must know where it stands, to name its pages; because importing LlamaIndex costs each worker process
seconds and 100 MB; and because its splitter also loads a stop-word list, which NLTK refuses to read where the
installer made hard links, as uv does.

Sizes are sums of the sizes of sentences, each tokenized alone, as there; a chunk as a whole has about as many tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

import msgspec

from jobs.parsing.cleaning import is_plain
from jobs.parsing.extracted import Heading, Part, TableRows
from jobs.parsing.sections import path_of, sections, spans
from jobs.parsing.sentences import any_sentence_starts, sentence_starts
from jobs.parsing.tokens import LONGEST_TOKEN, count_any_tokens, count_tokens

__all__ = ["Piece", "chunk_pages", "warm_up"]

CHARACTERS_PER_TOKEN = 4  # about, in English

# One of LlamaIndex's, where a sentence is too long: split after these.
_PHRASE = re.compile("[^,.;。？！]+[,.;。？！]?|[,.;。？！]")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk's text, the first and last page that it touches, counted from 1, and the headings above it.

    ``part`` is that of the document that it belongs to, as "references"; "" for the body. ``header`` has the cells above
    the rows of the table that the text begins in; "" where it begins in none.
    """

    text: str
    page_first: int
    page_last: int
    section: list[str] = []
    part: str = ""
    header: str = ""

    @property
    def with_header(self) -> str:
        return f"{self.header}\n\n{self.text}" if self.header else self.text


def warm_up() -> None:
    """Load the tokenizers."""
    count_any_tokens("Some words.")
    any_sentence_starts("Some words.")


def chunk_pages(
    pages: Sequence[str],
    *,
    chunk_size: int,
    chunk_overlap: int,
    headings: Sequence[Heading] = (),
    parts: Sequence[Part] = (),
    tables: Sequence[TableRows] = (),
) -> list[Piece]:
    """Cut cleaned pages into chunks of at most `chunk_size` tokens, neighbours sharing up to `chunk_overlap`.

    Sentences may run on from page to page. A chunk ends where a section does, if no chunk of less than a quarter of
    `chunk_size` comes of it, and where one of the `parts` starts. One that begins among the rows of a table has less text
    of its own, so that the table's header fits in front of it. Raises `ValueError` when one character has more tokens than
    `chunk_size`.
    """
    text, starts = _join(pages)
    titled = sections(headings, starts)
    begins = [starts[part.page] + part.start for part in parts]
    kinds = ["", *(part.kind for part in parts)]
    cuts = spans(len(text), titled, begins, least=CHARACTERS_PER_TOKEN * chunk_size // 4)
    rows = [_Rows.of(table, starts[table.page]) for table in tables]
    rows = [each for each in rows if each.tokens <= chunk_size // 4]
    return [
        Piece(
            text=text[start:end],
            page_first=bisect_right(starts, start),
            page_last=bisect_right(starts, end - 1),
            section=path_of(titled, start, end),
            part=kinds[bisect_right(begins, start)],
            header=next((each.header for each in rows if each.start <= start < each.end), ""),
        )
        for first, last in cuts
        for start, end in _split_with_headers(text, chunk_size, chunk_overlap, (first, last), rows)
    ]


class _Rows(msgspec.Struct, frozen=True):
    """Where in the text the rows of a table are, and the header above them with its size."""

    start: int
    end: int
    header: str
    tokens: int

    @classmethod
    def of(cls, table: TableRows, start: int) -> _Rows:
        return cls(start + table.start, start + table.end, table.header, count_any_tokens(f"{table.header}\n\n"))


def _split_with_headers(
    text: str, chunk_size: int, chunk_overlap: int, span: tuple[int, int], rows: Sequence[_Rows]
) -> list[tuple[int, int]]:
    """`split`; where a chunk begins in a table, with room for the longest header of the span."""
    first, last = span
    found = split(text, chunk_size=chunk_size, chunk_overlap=chunk_overlap, first=first, last=last)
    near = [each for each in rows if each.start < last and first < each.end]
    if not any(each.start <= start < each.end for start, _ in found for each in near):
        return found
    size = chunk_size - max(each.tokens for each in near)
    return split(text, chunk_size=size, chunk_overlap=min(chunk_overlap, size), first=first, last=last)


def _join(pages: Sequence[str]) -> tuple[str, list[int]]:
    """The pages as one text, and where each starts in it. A page that ends in mid-sentence flows into the next."""
    parts = [f"{page}{_separator(page, after)}" for page, after in zip(pages, [*pages[1:], ""], strict=True)]
    return "".join(parts), list(accumulate(map(len, parts[:-1]), initial=0))


def _separator(page: str, after: str) -> str:
    if not page or not after:
        return "\n\n" if page else ""
    return " " if page[-1].isalnum() and after[0].islower() else "\n\n"


class _Split(msgspec.Struct, frozen=True):
    start: int
    end: int
    tokens: int
    is_sentence: bool


def split(
    text: str, *, chunk_size: int, chunk_overlap: int, first: int = 0, last: int | None = None
) -> list[tuple[int, int]]:
    """Where `SentenceSplitter(chunk_size=…, chunk_overlap=…)` would cut ``text[first:last]``: start and end of each chunk.

    Raises `ValueError` when the overlap is larger than the chunk.
    """
    if chunk_overlap > chunk_size:
        raise ValueError(f"chunk_overlap is {chunk_overlap}: set it to at most chunk_size, {chunk_size}")
    part = text[first:last]
    chunks = _merge(_split(part, first, chunk_size, _PLAIN if is_plain(part) else _ANY), chunk_size, chunk_overlap)
    return [span for start, end in chunks if (span := _strip(text, start, end))]


def _strip(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    body = piece.strip()
    lead = len(piece) - len(piece.lstrip())
    return (start + lead, start + lead + len(body)) if body else None


class _Means(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure a text and its parts, and where to cut them."""

    tokens: Callable[[str], int]
    sentence_starts: Callable[[str], list[int]]


_ANY = _Means(tokens=count_any_tokens, sentence_starts=any_sentence_starts)
_PLAIN = _Means(tokens=count_tokens, sentence_starts=sentence_starts)  # the same where it may be used, and much faster


def _split(text: str, offset: int, limit: int, means: _Means) -> Iterator[_Split]:
    """Halve what is too long by the coarsest means that helps: sentences, phrases, words, characters."""
    tokens = _size(text, limit, means)
    if tokens <= limit:
        yield _Split(offset, offset + len(text), tokens, True)
        return
    parts, is_sentence = _parts(text, means)
    for part in parts:
        tokens = _size(part, limit, means)
        if tokens <= limit:
            yield _Split(offset, offset + len(part), tokens, is_sentence)
        elif len(parts) == 1:
            raise ValueError(f"a single character has {tokens} tokens: set chunk_size higher than {limit}")
        else:
            yield from _split(part, offset, limit, means)
        offset += len(part)


def _size(text: str, limit: int, means: _Means) -> int:
    # Where the length or the blanks show that it is too long, the exact number is not needed.
    at_least = max(len(text) // LONGEST_TOKEN, text.count(" ") if means is _PLAIN else 0)
    return at_least if at_least > limit else means.tokens(text)


def _parts(text: str, means: _Means) -> tuple[list[str], bool]:
    starts = means.sentence_starts(text)
    if len(starts) > 1:
        return [text[start:end] for start, end in pairwise([*starts, len(text)])], True
    for parts in (_PHRASE.findall(text), _words(text)):
        if len(parts) > 1:
            return parts, False
    return list(text), False


def _words(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [word for word in (first, *(f" {word}" for word in rest)) if word]


def _merge(splits: Iterator[_Split], limit: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Fill chunks with splits, each new one starting with the last of the one before."""
    held: deque[_Split] = deque()
    size = 0
    fresh = True  # nothing but overlap is in `held`
    for split in splits:
        if size + split.tokens > limit and not fresh:
            yield held[0].start, held[-1].end
            held = _tail(held, overlap)
            size = sum(each.tokens for each in held)
            fresh = True
        while held and size + split.tokens > limit:
            size -= held.popleft().tokens
        held.append(split)
        size += split.tokens
        fresh = False
    if held:
        yield held[0].start, held[-1].end


def _tail(splits: Sequence[_Split], overlap: int) -> deque[_Split]:
    """The last splits that have at most `overlap` tokens together."""
    tail: deque[_Split] = deque()
    size = 0
    for split in reversed(splits):
        size += split.tokens
        if size > overlap:
            break
        tail.appendleft(split)
    return tail
