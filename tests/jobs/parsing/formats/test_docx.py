from __future__ import annotations

import pytest
from formats_made import TEXT, docx, p, packed

from engine.errors import Permanent
from jobs.parsing.formats.docx import read
from jobs.parsing.parsers import Options


def test_styles_say_what_is_a_heading() -> None:
    """The title, headings with their level, paragraphs and rows of tables."""
    table = f"<w:tbl><w:tr><w:tc>{p('a')}</w:tc><w:tc>{p('b')}</w:tc></w:tr></w:tbl>"
    body = p("How a Mill Grinds", "Title") + p("One", "Heading1") + p(TEXT) + p("Two", "Heading2") + table
    document = read(docx(body), "a.docx", Options())
    assert document.title == "How a Mill Grinds"
    assert document.pages == [f"How a Mill Grinds\n\nOne\n\n{TEXT}\n\nTwo\n\na | b"]
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "One"), (2, "Two")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"no zip", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted"),
        (packed({"xl/workbook.xml": "<x/>"}), "wrong_format"),
        (packed({"word/document.xml": "<x/>"}), "damaged"),
        (docx("<w:p>"), "damaged"),
        (docx(p("few words")), "no_text"),
    ],
)
def test_what_is_no_document_is_named(data: bytes, expected: str) -> None:
    """Other bytes, another zip file, a locked one, a broken one, one that says nothing."""
    with pytest.raises(Permanent) as caught:
        read(data, "a.docx", Options())
    assert caught.value.kind == expected


@pytest.mark.slow
def test_a_bomb_is_not_unpacked() -> None:
    """A file that says that it grows to 300 MB is refused."""
    with pytest.raises(Permanent) as caught:
        read(docx(p(TEXT), **{"word/media/bomb.png": "0" * 300_000_000}), "a.docx", Options())
    assert caught.value.kind == "too_large"


def test_entities_do_not_grow() -> None:
    """A document that declares entities within entities is refused or read without them."""
    laughs = "".join(f"<!ENTITY a{number + 1} '{f'&a{number};' * 10}'>" for number in range(12))
    whole = f"<!DOCTYPE x [<!ENTITY a0 'ha'>{laughs}]><w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body>{p('&a12;')}</w:body></w:document>"
    with pytest.raises(Permanent) as caught:
        read(docx("", **{"word/document.xml": whole}), "a.docx", Options())
    assert caught.value.kind == "damaged"
