from __future__ import annotations

from formats_made import TEXT

from jobs.parsing.formats.text import read
from jobs.parsing.parsers import Options


def test_paragraphs_are_parted_by_empty_lines() -> None:
    """Lines flow together, a word broken at a line's end is whole again, and there are no pages."""
    extracted = read(f"Stones are mea-\r\nsured here.\r\n \r\n{TEXT}".encode(), "a.txt", Options())
    assert extracted.pages == [f"Stones are measured here.\n\n{TEXT}"]
    assert (extracted.title, extracted.paged, extracted.headings) == ("", False, [])
