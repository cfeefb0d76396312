"""A page of a PDF as a picture, and where on it stand its chunks, what was left out, and what pairs rely on.

It runs in a worker process (`engine.workers`), with the bounds of parsing: a hostile file may crash, hang or eat memory
there. Cleaning has changed the texts, so lines are found again by the letters and digits that they share with a text:
half of a line's runs of eight must stand in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import sqrt
from typing import Any

import msgspec

from jobs.parsing.failures import failed
from jobs.parsing.pdf import HEADER_WINDOW, warm_up
from jobs.parsing.source import Source, read_source
from jobs.records import Paper

__all__ = ["Drawing", "Drawn", "Mark", "Wanted", "draw", "find"]

_WIDTH = 1000
_MOST_PIXELS = 3_000_000
_RUN = 8
_SHARE = 0.5
_Word = tuple[float, float, float, float, str, int, int, int]


class Wanted(msgspec.Struct, frozen=True):
    """A text to find: ``kind`` is "chunk", "left" or "quote", ``number`` says which of them."""

    kind: str
    number: int
    text: str


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """What to draw: page ``page``, from 1, of ``paper``, with the places of the texts that are ``wanted``."""

    paper: Paper
    page: int
    wanted: list[Wanted]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A box around a part of a line, in pixels of the picture."""

    kind: str
    number: int
    x: int
    y: int
    width: int
    height: int


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A PNG picture of this many pixels, with its marks."""

    png: bytes
    width: int
    height: int
    marks: list[Mark]


def draw(job: Drawing) -> Drawn:
    """The picture, for a worker process; raises `Permanent` where the file cannot be drawn, or is another by now."""
    import pymupdf

    data = read_source(Source.of(job.paper))
    warm_up()
    if b"%PDF-" not in data[:HEADER_WINDOW]:
        raise failed("not_pdf")
    try:
        with pymupdf.open(stream=data, filetype="pdf") as document:
            if not document.is_pdf or document.needs_pass or job.page > document.page_count:
                raise failed("damaged", f"there is no page {job.page}")
            return _drawn(document[job.page - 1], job.wanted)
    except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError) as error:
        raise failed("damaged", type(error).__name__) from error
    finally:
        pymupdf.TOOLS.store_shrink(100)


def _drawn(page: Any, wanted: Sequence[Wanted]) -> Drawn:
    import pymupdf

    width, height = max(1.0, page.rect.width), max(1.0, page.rect.height)
    scale = min(_WIDTH / width, sqrt(_MOST_PIXELS / (width * height)))
    matrix = pymupdf.Matrix(scale, scale)
    picture = page.get_pixmap(matrix=matrix, alpha=False)
    lines = [list(words) for _, words in groupby(page.get_text("words"), key=lambda word: word[5:7])]
    to_picture = page.rotation_matrix * matrix
    marks = [
        Mark(kind=each.kind, number=each.number, **_pixels(box, to_picture))
        for each, words in find(lines, wanted)
        for box in [pymupdf.Rect(_around(words))]
    ]
    return Drawn(png=picture.tobytes("png"), width=picture.width, height=picture.height, marks=marks)


def _around(words: Sequence[_Word]) -> tuple[float, float, float, float]:
    return (
        min(word[0] for word in words),
        min(word[1] for word in words),
        max(word[2] for word in words),
        max(word[3] for word in words),
    )


def _pixels(box: Any, matrix: Any) -> dict[str, int]:
    placed = (box * matrix).normalize()
    return {
        "x": round(placed.x0),
        "y": round(placed.y0),
        "width": max(1, round(placed.width)),
        "height": max(1, round(placed.height)),
    }


def find(lines: Sequence[Sequence[_Word]], wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Sequence[_Word]]]:
    """Each wanted text with the words of a line that stand in it.

    A line belongs to one chunk, or to what was left out, whichever it shares most with; quotes stand over them.
    """
    sorts = [_Sought(each) for each in wanted]
    texts = [each for each in sorts if each.wanted.kind != "quote"]
    before: _Sought | None = None
    for words in lines:
        letters = _letters("".join(word[4] for word in words))
        best = max(texts, key=lambda each: each.share(letters, after=each is before), default=None)
        if best is not None and best.share(letters, after=best is before) >= _SHARE:
            before = best
            yield best.wanted, words
    for each in sorts:
        if each.wanted.kind == "quote":
            yield from ((each.wanted, part) for part in _quoted(lines, each))


def _quoted(lines: Sequence[Sequence[_Word]], quote: _Sought) -> Iterator[Sequence[_Word]]:
    """The words of a quote, line by line: where it stands on the page in one piece, else the lines that are of it."""
    letters = [[_letters(word[4]) for word in words] for words in lines]
    whole = "".join("".join(line) for line in letters)
    start = whole.find(quote.letters) if quote.letters else -1
    end, at = start + len(quote.letters), 0
    for words, parts in zip(lines, letters, strict=True):
        inside = []
        for word, part in zip(words, parts, strict=True):
            if start >= 0 and part and at < end and start < at + len(part):
                inside.append(word)
            at += len(part)
        if start < 0 and quote.share("".join(parts), after=False) >= _SHARE:
            inside = list(words)
        if inside:
            yield inside


class _Sought:
    """A wanted text as its letters and digits, and their runs of eight."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.letters = _letters(wanted.text)
        self._runs = set(_runs(self.letters))

    def share(self, line: str, *, after: bool) -> float:
        """How much of `line` is of this text, from 0 to 1; a short line counts where the line before is of it, too."""
        if len(line) < _RUN:
            return float(bool(line) and after and line in self.letters)
        runs = list(_runs(line))
        return sum(run in self._runs for run in runs) / len(runs)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _runs(letters: str) -> Iterable[str]:
    return (letters[at : at + _RUN] for at in range(len(letters) - _RUN + 1))
