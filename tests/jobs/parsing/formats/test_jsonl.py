from __future__ import annotations

import json

import pytest
from formats_made import TEXT

from engine.errors import Permanent
from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.jsonl import read
from jobs.parsing.parsers import Options


def extracted(**line: object) -> Extracted:
    return read(json.dumps(line).encode(), "a.jsonl", Options())


def titles(document: Extracted) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


def test_text_is_plain_or_markdown() -> None:
    """A line that begins with # makes it Markdown, unless the line says what it is."""
    markdown = f"# Mills\n\n## One\n\n*{TEXT}*\n\n## References\n\nSmith"
    assert extracted(text=TEXT, metadata={"x": 1}).pages == [TEXT]
    document = extracted(text=markdown)
    assert (document.title, titles(document), document.left_out) == ("Mills", [(1, "One")], {"references": 15})
    assert extracted(text=markdown, format="text").pages[0].startswith("# Mills")
    assert extracted(text=f"*{TEXT}*", format="markdown").pages == [TEXT]


def test_sections_are_headings() -> None:
    """With their levels; references among them are left out."""
    sections = [
        {"title": "A", "text": TEXT},
        {"title": "B", "text": "b", "level": 2},
        {"title": "References", "text": "Smith"},
    ]
    document = extracted(title="Mills", sections=sections)
    assert (document.title, titles(document)) == ("Mills", [(1, "A"), (2, "B")])
    assert document.pages == [f"A\n\n{TEXT}\n\nB\n\nb"]


def test_the_id_names_what_has_no_title() -> None:
    """A number may be one."""
    assert extracted(id=7, text=TEXT).title == "7"
    assert extracted(id="p7", sections=[{"title": "A", "text": TEXT}]).title == "p7"
    assert extracted(text=TEXT).title == ""


@pytest.mark.parametrize(
    "line", [b"words", b"[1]", b'{"title": "A"}', b'{"text": 3}', b"[" * 100_000, b'{"text": "\xff"}']
)
def test_a_line_that_is_none_is_named(line: bytes) -> None:
    """What is no object with text or sections is a failure of the named kind."""
    with pytest.raises(Permanent, match=r"text or sections|neither text nor") as caught:
        read(line, "a.jsonl", Options())
    assert caught.value.kind == "wrong_format"
