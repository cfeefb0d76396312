from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest

from engine.errors import Permanent
from jobs.parsing import ocr, pdf
from jobs.parsing.extracted import Extracted
from jobs.parsing.parsers import Options

TEXT = "Grain is fed between two stones. The upper stone turns and the lower one rests. " * 3


def scan(*, pages: int = 2, with_text: int = 0) -> bytes:
    """A PDF of pages that are pictures of text, after pages of text."""
    with pymupdf.open() as drawn, pymupdf.open() as made:
        for number in range(with_text):
            made.new_page().insert_textbox((72, 90, 520, 800), f"Page {number} of words. {TEXT}", fontsize=11)
        for number in range(pages):
            page = drawn.new_page(width=400, height=220)
            page.insert_text((40, 40), "How a Mill Grinds Its Grain" if not number else "More of Stones", fontsize=18)
            page.insert_textbox((40, 70, 360, 210), TEXT, fontsize=11)
            picture = page.get_pixmap(dpi=200).tobytes("png")
            made.new_page(width=400, height=220).insert_image((0, 0, 400, 220), stream=picture)
        data: bytes = made.tobytes()
        return data


def read(data: bytes, setting: str = "auto") -> Extracted:
    return pdf.read(data, "scan.pdf", Options(ocr=setting))


needs_tesseract = pytest.mark.skipif(not ocr.can_read(), reason="Tesseract's language data is not installed")


@pytest.mark.slow
@needs_tesseract
def test_a_scan_is_read_and_its_pages_are_named() -> None:
    """Text and title come from the pictures; the note says which pages, and that words may be wrong."""
    extracted = read(scan(pages=2))
    assert extracted.title == "How a Mill Grinds Its Grain"
    assert "The upper stone turns and the lower one rests." in extracted.pages[0].replace("\n", " ")
    assert extracted.pages[1].startswith("More of Stones")
    assert extracted.recognised_pages == [1, 2]
    assert "pages 1-2" in extracted.note


@pytest.mark.slow
@needs_tesseract
def test_a_cover_of_text_before_a_scan_stays_as_it_is() -> None:
    """Only pages without text are read so."""
    extracted = read(scan(pages=2, with_text=1))
    assert extracted.pages[0].startswith("Page 0 of words.")
    assert (extracted.recognised_pages, len(extracted.pages)) == ([2, 3], 3)


def test_a_picture_among_pages_of_text_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plate is no scan: the pages are not looked at, whatever is installed."""
    monkeypatch.setattr(pdf, "searchable", lambda document, scanned: pytest.fail("it is read"))
    monkeypatch.setattr(pdf, "can_read", lambda: True)
    extracted = read(scan(pages=1, with_text=1))
    assert extracted.note == "1 of 2 pages hold no text"


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Tesseract a scan is "no_text", with what would help; switched off, it is "no_text" without."""
    monkeypatch.setattr(pdf, "can_read", lambda: False)
    with pytest.raises(Permanent, match=r"0 letters and digits; it is a scan: install Tesseract") as caught:
        read(scan(pages=1))
    assert caught.value.kind == "no_text"
    with pytest.raises(Permanent, match=r"\(0 letters and digits\)"):
        read(scan(pages=1), "off")


def test_a_page_that_tesseract_cannot_read_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language data that is no such thing costs the text, and not the worker."""
    monkeypatch.setattr(ocr, "_language_data", lambda: "/nowhere")
    with pytest.raises(Permanent) as caught:
        read(scan(pages=1))
    assert caught.value.kind == "no_text"


def test_the_language_data_is_found_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without that of English is none."""
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    find = ocr._language_data.__wrapped__
    assert find() is None
    (tmp_path / "eng.traineddata").touch()
    assert find() == str(tmp_path)


def test_ranges_of_pages() -> None:
    """Numbers that follow each other are one range."""
    note = Extracted(title="", pages=["a"] * 9, recognised_pages=[1, 2, 3, 5, 7, 8]).note
    assert "pages 1-3, 5, 7-8:" in note
