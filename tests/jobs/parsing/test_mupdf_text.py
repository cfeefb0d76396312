from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest

from jobs.parsing.layout import Line, printed_text, running_as_most, segments
from jobs.parsing.mupdf_text import PageText, Unreadable, blocks, printed, read_layout

ROOT = Path(__file__).resolve().parents[3]
PAPERS = [
    *sorted((ROOT / "examples" / "papers").glob("*.pdf")),
    *sorted((ROOT.parent / "shared" / "papers" / "good").glob("*.pdf")),
]
FLAGS = pymupdf.TEXTFLAGS_TEXT
CONTROLS = "\x01\t\x7f"  # MuPDF makes something else of them


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.name[:30])
def test_the_text_is_that_of_pymupdf(path: Path) -> None:
    """Letter by letter, with all line ends; but an empty block leaves no trace."""
    with pymupdf.open(path) as document:
        if document.page_count > 20:
            document.select(range(20))
        layout = read_layout(document, FLAGS, max_characters=10**9)
        assert layout is not None
        for number, page in enumerate(document):
            found = page.get_textpage(flags=FLAGS).extractBLOCKS()
            text = printed_text(layout, layout.pages[number].lines)
            assert text == "\n\n".join(block[4] for block in found if block[4])
        assert [part.text for part in segments(layout, range(len(layout.lines)))] == [
            text for page in layout.pages if (text := printed_text(layout, page.lines))
        ]


def test_a_paper_may_be_too_long() -> None:
    """The reading stops at the page that goes over the bound."""
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "Twenty characters !!")
        assert read_layout(document, FLAGS, max_characters=20) is not None
        assert read_layout(document, FLAGS, max_characters=19) is None


@pytest.mark.parametrize("sign", [*'"\\/', *CONTROLS, "é", "\u2028", "論", "\uffff", "𝑥", "😀"])
def test_no_sign_breaks_the_json(sign: str) -> None:
    """What stands for a glyph in a file may be any character."""
    with pymupdf.open(stream=pdf_with(sign), filetype="pdf") as document:
        text = document[0].get_textpage(flags=FLAGS).extractBLOCKS()[0][4]
        assert sign in text or sign in CONTROLS, "the file does not say what it is to say"
        assert "".join(f"{line.text}\n" for line in lines_of(document)) == text


def lines_of(document: pymupdf.Document) -> list[Line]:
    return [line for own in blocks(printed(document, 0, FLAGS)) for line in own]


def pdf_with(sign: str) -> bytes:
    """A page that says "before * after", with `sign` for the star."""
    codes = sign.encode("utf-16-be").hex()
    cmap = f"begincmap 1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfchar <2A> <{codes}> endbfchar endcmap"
    content = "BT /F 12 Tf 72 700 Td (before * after) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>",
        f"<</Length {len(cmap)}>>stream\n{cmap}\nendstream",
    ]
    numbered = "".join(f"{number} 0 obj\n{body}\nendobj\n" for number, body in enumerate(objects, 1))
    return f"%PDF-1.4\n{numbered}trailer<</Root 1 0 R>>".encode()


def test_stamps_in_the_margin_are_no_lines() -> None:
    """The lines that run as most do, with their size and edges in points."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((72, 100), "The Title of a Paper", fontsize=20)
        page.insert_text((72, 150), "And what it says, at some length, in smaller print.", fontsize=10)
        page.insert_text((30, 500), "A stamp that runs up the margin", fontsize=24, rotate=90)
        title, body = running_as_most(lines_of(document))
    assert (title.text, body.size, body.left) == ("The Title of a Paper", 10, 72)
    assert title.size == 20
    assert 75 < title.top < 85
    assert 100 < title.bottom < 110


def test_an_unreadable_page_is_said_to_be() -> None:
    with pymupdf.open() as document:
        document.new_page()
        with pytest.raises(Unreadable):
            printed(document, 7, FLAGS)
    with pytest.raises(Unreadable):
        blocks(PageText(json="{", xhtml="", width=0, height=0))
