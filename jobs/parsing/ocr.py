"""Scans, read by Tesseract through MuPDF: it is inside of MuPDF, and needs only its language data to be installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["INSTALL", "can_read", "scanned_pages", "searchable"]

DPI = 300
MOST_PIXELS = 30_000_000  # of a page; a larger one is read at fewer dots to the inch
MOST_PAGES = 500
LANGUAGE = "eng"

_USUAL = (
    "usr/share/tesseract-ocr/*/tessdata",
    "usr/share/tessdata",
    "usr/local/share/tessdata",
    "opt/*/share/tessdata",
)

INSTALL = "it is a scan: install Tesseract to have it read, as by apt install tesseract-ocr"


def can_read() -> bool:
    """Whether Tesseract's language data is installed."""
    return _language_data() is not None


def scanned_pages(document: Any, silent: Collection[int]) -> list[int]:
    """Those of the pages `silent`, counted from 0, that are pictures; none unless they are most of the document.

    So a plate among pages of text is not read: what Tesseract makes of a drawing is worth nothing.
    """
    if 2 * len(silent) <= document.page_count:
        return []
    pictured = [number for number in sorted(silent) if document.get_page_images(number)]
    return pictured[:MOST_PAGES] if 2 * len(pictured) > document.page_count else []


def searchable(document: Any, scanned: Sequence[int]) -> tuple[Any, list[int]]:
    """A copy of the document in which the pages `scanned` have the text that Tesseract reads on them, and which it read.

    One that it cannot read stays as it is. Takes a second or more a page.
    """
    import pymupdf

    copy = pymupdf.open()
    read: list[int] = []
    for number in range(document.page_count):
        text = _page(document, number) if number in scanned else None
        if text is None:
            copy.insert_pdf(document, from_page=number, to_page=number, annots=False, links=False)
            continue
        with pymupdf.open(stream=text, filetype="pdf") as page:
            copy.insert_pdf(page)
        read.append(number)
    return copy, read


def _page(document: Any, number: int) -> bytes | None:
    import pymupdf

    try:
        page = document.load_page(number)
        inches = page.rect.width * page.rect.height / 72**2
        dpi = min(DPI, int((MOST_PIXELS / max(inches, 1e-6)) ** 0.5))
        picture = page.get_pixmap(dpi=max(dpi, 1), alpha=False)  # in grey, MuPDF reads nothing
        made: bytes = picture.pdfocr_tobytes(compress=False, language=LANGUAGE, tessdata=_language_data())
    except pymupdf.mupdf.FzErrorSystem:
        raise
    except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError):
        return None
    return made


@cache
def _language_data() -> str | None:
    """The folder of Tesseract's language data: that of the environment, else where installers put it."""
    stated = os.environ.get("TESSDATA_PREFIX")
    program = shutil.which("tesseract")
    beside = [Path(program).resolve().parents[1] / "share" / "tessdata"] if program else []
    usual = [found for folder in _USUAL for found in sorted(Path("/").glob(folder), reverse=True)]
    places = [Path(stated)] if stated else [*beside, *usual]
    return next((str(place) for place in places if (place / f"{LANGUAGE}.traineddata").is_file()), None)
