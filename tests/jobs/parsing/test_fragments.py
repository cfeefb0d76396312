from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

import pymupdf

from jobs.parsing import pdf

LINES = ["the facility grinds grain into flour", "and mesons into theory"]


def pdf_in_fragments(lines: Sequence[str]) -> bytes:
    """As dvips wrote files: a font of drawings, in a hundredth of its size; every third letter is placed by itself."""
    box = b"4500 0 0 0 4000 4000 d1 0 0 4000 4000 re f"
    objects = [b"<< /Length %d >>\nstream\n%s\nendstream" % (len(box), box)]
    names = b" ".join(b"/%c" % letter for letter in ascii_lowercase.encode())
    procs = b" ".join(b"/%c 1 0 R" % letter for letter in ascii_lowercase.encode())
    objects.append(
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 4000 4000] /FontMatrix [0.01 0 0 0.01 0 0] "
        b"/CharProcs << %s >> /Encoding << /Type /Encoding /Differences [97 %s] >> "
        b"/FirstChar 97 /LastChar 122 /Widths [%s] >>" % (procs, names, b"4500 " * 26)
    )
    shown = "\n".join(_shown(lines)).encode()
    objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown))
    objects.append(
        b"<< /Type /Page /Parent 5 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources << /Font << /F 2 0 R >> >> >>"
    )
    objects += [b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>", b"<< /Type /Catalog /Pages 5 0 R >>"]
    written = b"%PDF-1.4\n"
    for number, each in enumerate(objects, 1):
        written += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    with pymupdf.open(stream=written + b"trailer << /Size 7 /Root 6 0 R >>\n%%EOF", filetype="pdf") as document:
        whole: bytes = document.tobytes()  # with a table of its objects, so that nothing is repaired
    return whole


def _shown(lines: Sequence[str]) -> list[str]:
    shown = []
    for number, line in enumerate(lines):
        x = 60.0
        for word in line.split():
            for at in range(0, len(word), 3):
                part = word[at : at + 3]
                shown.append(f"BT /F 0.12 Tf 1 0 0 1 {x:.2f} {740 - 12 * number} Tm ({part}) Tj ET")
                x += 5.4 * len(part) + 0.3
            x += 4
    return shown


def test_pages_in_fragments_are_read_as_words(tmp_path: Path) -> None:
    """What comes out of MuPDF as "fac", "ili", "ty" comes out as PDFium reads it, and the paper says so."""
    (tmp_path / "old.pdf").write_bytes(pdf_in_fragments(LINES * 10))
    extracted = pdf.extract(str(tmp_path / "old.pdf"))
    assert extracted.pages == [" ".join(LINES * 10)]
    assert extracted.note.startswith("1 of 1 pages come in pieces of words and were read by PDFium")


def test_a_short_page_in_fragments_stays_as_it_is(tmp_path: Path) -> None:
    """A few pieces prove nothing: labels in a figure stand so, too."""
    (tmp_path / "short.pdf").write_bytes(pdf_in_fragments(LINES[:1] + ["x"] * 2 + ["grain " * 7, "flour " * 7]))
    assert "PDFium" not in pdf.extract(str(tmp_path / "short.pdf")).note
