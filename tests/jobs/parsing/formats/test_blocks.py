from __future__ import annotations

import pytest
from formats_made import TEXT
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Permanent
from jobs.parsing.formats import blocks as building
from jobs.parsing.formats.blocks import Block, Builder, assemble
from jobs.parsing.parsers import Options

BLOCKS = st.lists(
    st.builds(
        Block,
        text=st.text(max_size=30) | st.sampled_from(["References", "A heading", "words\n\nmore words", "­", ""]),
        level=st.integers(0, 3),
    )
)


@given(BLOCKS)
def test_headings_stand_where_they_are_said_to(blocks: list[Block]) -> None:
    """At each heading's place its text begins, in order, whatever cleaning takes away; nothing is in two places."""
    document = assemble([Block(text=TEXT), *blocks], Options())
    starts = [heading.start for heading in document.headings]
    assert starts == sorted(set(starts))
    for heading in document.headings:
        assert " ".join(document.pages[0][heading.start :].split()).startswith(heading.title)
    kept = assemble([Block(text=TEXT), *blocks], Options(references="keep"))
    assert document.left_out.get("references", 0) + len(document.pages[0]) <= len(kept.pages[0])


def test_references_that_stay_are_a_part_and_others_can_be_looked_at() -> None:
    """Where they stay, the text says where they begin and end; where they go, their text is beside the document."""
    blocks = [Block(text=TEXT), Block(text="References", level=1), Block(text="Smith"), Block(text="Next", level=1)]
    marked = assemble(blocks, Options(references="mark"))
    assert [(part.kind, marked.pages[0][part.start :].split("\n")[0]) for part in marked.parts] == [
        ("references", "References"),
        ("", "Next"),
    ]
    assert (marked.left_out, marked.omitted) == ({}, [])
    dropped = assemble(blocks, Options())
    assert [(each.kind, each.text) for each in dropped.omitted] == [("references", "References\n\nSmith")]
    assert (dropped.parts, dropped.left_out) == ([], {"references": 15})


def test_few_words_are_no_paper() -> None:
    """Less than 100 letters and digits is "no_text"."""
    with pytest.raises(Permanent, match=r"no text to speak of.*\(8 letters and digits\)") as caught:
        assemble([Block(text="Mill, 1850.")], Options())
    assert caught.value.kind == "no_text"


def test_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is collected, and when the document is made."""
    monkeypatch.setattr(building, "MAX_CHARACTERS", 200)
    builder = Builder()
    builder.add(TEXT)
    with pytest.raises(Permanent, match="more than 200 characters"):
        builder.add(TEXT)
    with pytest.raises(Permanent, match="more than 200 characters"):
        assemble([Block(text=TEXT)] * 3, Options())


@pytest.mark.parametrize(
    "heading", ["References", "7. REFERENCES", "Bibliography:", "Literature cited", "VI. Works Cited"]
)
def test_headings_of_references(heading: str) -> None:
    """As authors call them, with a number before."""
    blocks = [Block(text=TEXT), Block(text=heading, level=2), Block(text="Smith"), Block(text="Next", level=1)]
    assert assemble(blocks, Options()).pages == [f"{TEXT}\n\nNext"]


def test_the_first_row_of_a_table_is_the_header_of_the_others() -> None:
    """Three rows or more; what stands between bars in text is no table."""
    rows = [Block(text=text, is_row=True) for text in ("mill | sacks", "Rose | 12", "Lamb | 7")]
    blocks = [Block(text=TEXT), *rows, Block(text="The odds p(a | b) are small."), *rows[:2]]
    document = assemble(blocks, Options())
    (table,) = document.tables
    assert table.header == "mill | sacks"
    assert document.pages[0][table.start : table.end] == "Rose | 12\n\nLamb | 7"
    assert assemble(blocks, Options(table_headers="once")).tables == []
