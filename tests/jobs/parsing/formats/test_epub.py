from __future__ import annotations

import pytest
from formats_made import TEXT, epub, packed

from engine.errors import Permanent
from jobs.parsing.formats import packed as unpacking
from jobs.parsing.formats.epub import read
from jobs.parsing.parsers import Options


def kind(data: bytes) -> str:
    with pytest.raises(Permanent) as caught:
        read(data, "a.epub", Options())
    return caught.value.kind


def test_the_pages_stand_in_reading_order() -> None:
    """The spine's order, names with blanks, the book's own title; its table of contents is no text."""
    book = read(
        epub({"z one.xhtml": f"<h1>One</h1><p>{TEXT}</p>", "a.xhtml": "<h1>Two</h1><p>b&#233;</p>"}),
        "a.epub",
        Options(),
    )
    assert book.title == "How a Mill Grinds"
    assert book.pages == [f"One\n\n{TEXT}\n\nTwo\n\nbé"]
    assert [(heading.level, heading.title) for heading in book.headings] == [(1, "One"), (1, "Two")]


def test_what_is_no_book_is_named() -> None:
    """Other bytes, another zip file, a locked one, one whose list is broken."""
    page = {"a.xhtml": f"<p>{TEXT}</p>"}
    assert kind(b"no zip") == "damaged"
    assert kind(epub(page)[:-200]) == "damaged"
    assert kind(packed({"a.txt": "words"})) == "wrong_format"
    lock = '<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/></EncryptedData></encryption>'
    assert kind(epub(page, **{"META-INF/encryption.xml": lock})) == "encrypted"
    fonts = lock.replace("http://www.w3.org/2001/04/xmlenc#aes256-cbc", "http://www.idpf.org/2008/embedding")
    assert read(epub(page, **{"META-INF/encryption.xml": fonts}), "a.epub", Options()).pages == [TEXT]


@pytest.mark.slow
def test_bombs_do_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much to unpack is told by what the file says, and where that is a lie, by what comes out."""
    bomb = epub({"a.xhtml": f"<p>{TEXT}</p>{' ' * 300_000_000}"})
    assert len(bomb) < 1_000_000
    assert kind(bomb) == "too_large"
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 3)
    assert kind(epub({"a.xhtml": f"<p>{TEXT}</p>"})) == "too_large"


def test_a_bomb_that_lies_does_not_go_off_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is counted over all files together."""
    book = epub({f"{number}.xhtml": f"<p>{TEXT}</p>" for number in range(20)})
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 9_000)
    with unpacking.Packed(book) as opened:
        opened._left = 100  # as if more had come out than was said
        with pytest.raises(Permanent, match="unpacked"):
            opened.read("OEBPS/1.xhtml")
