"""The order of words and of table rows beside the truth, and exponents at their own places, for `bench_text.py`.

words in order    three words in a row that stand once in the truth (abstract and body of JATS) and once in the text are taken
                  as one; the share of them in the longest run that has the same order in both.
rows in order     the rows of JATS tables with three cells or more: the share whose cells stand in the text in their order, with
                  nothing but signs and blanks between them, of those whose cells all stand in the text.
glued             what the print has as "10" and a raised number, and the text as one number behind the same letters.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import msgspec

__all__ = ["Order", "in_order", "misread_exponents"]

CELLS = 3  # a row has, at least
BEFORE = 16  # letters by which the place of an exponent is known
_WORD = re.compile(r"[^\W\d_]+")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Shares from 0 to 1; ``row_count`` rows were looked for."""

    words: float
    rows: float
    row_count: int


def in_order(check: ModuleType, labels: Path, texts: Mapping[str, str]) -> Order:
    """How far the texts of papers, by name, have the order of their truths in ``labels/truth``."""
    words = right = rows = whole = 0
    for paper, text in texts.items():
        source = labels / "truth" / f"{paper}.xml"
        if not source.is_file():
            continue
        root = ET.parse(source).getroot()
        places = list(_places(_body(check, root), text))
        words += len(places)
        right += _longest_rise(places)
        letters = check.letters(text)
        for cells in _table_rows(check, root):
            if all(cell in letters for cell in cells):
                rows += 1
                whole += "".join(cells) in letters
    return Order(words=right / max(1, words), rows=whole / max(1, rows), row_count=rows)


def _body(check: ModuleType, root: ET.Element) -> str:
    parts = [each for each in root.iter() if check.tag(each) in ("body", "abstract")]
    return " ".join(paragraph for part in parts for paragraph in check.paragraphs(part))


def _places(truth: str, text: str) -> Iterator[int]:
    """Where in the text each run of words stands, in the order of the truth."""
    wanted, found = _runs(truth), _runs(text)
    once, at = Counter(wanted), {run: place for place, run in enumerate(found)}
    held = Counter(found)
    return (at[run] for run in wanted if once[run] == 1 and held[run] == 1)


def _runs(text: str) -> list[tuple[str, str, str]]:
    words = [word.casefold() for word in _WORD.findall(text)]
    return list(zip(words, words[1:], words[2:], strict=False))


def _longest_rise(places: Sequence[int]) -> int:
    ends: list[int] = []
    for place in places:
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
    return len(ends)


def _table_rows(check: ModuleType, root: ET.Element) -> Iterator[list[str]]:
    for row in (each for each in root.iter() if check.tag(each) == "tr"):
        cells = [check.letters("".join(cell.itertext())) for cell in row]
        cells = [cell for cell in cells if cell]
        if len(cells) >= CELLS and len("".join(cells)) >= BEFORE:
            yield cells


def misread_exponents(check: ModuleType, papers: Sequence[tuple[Path, Sequence[str]]]) -> int:
    """How many raised exponents of ten of the PDFs are glued to it in the chunks of each."""
    import pymupdf

    glued = 0
    for path, chunks in papers:
        text = _letters_and_powers(" ".join(chunks))
        with pymupdf.open(path) as document:
            for page in document:
                before = ""
                for _, spans in check.page_lines(page):
                    for index in range(len(spans) - 1):
                        known = before + "".join(span["text"] for span in spans[: index + 1])
                        known = _letters_and_powers(known[:-2])[-BEFORE:]
                        forms = check.glued_forms(spans[index : index + 2])
                        glued += sum(known + _letters_and_powers(form) in text for form in forms)
                    before = (before + "".join(span["text"] for span in spans))[-200:]
    return glued


def _letters_and_powers(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum() or sign == "^")
