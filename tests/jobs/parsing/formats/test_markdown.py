from __future__ import annotations

import pytest
from formats_made import TEXT

from jobs.parsing.formats.blocks import Block
from jobs.parsing.formats.markdown import blocks, read
from jobs.parsing.parsers import Options


def test_blocks_are_those_that_a_reader_sees() -> None:
    """Headings with their level, paragraphs, items, rows and lines of code; marks, links and breaks leave no trace."""
    source = (
        "# One\n\nIt is *very* slow, see\n[the site](http://x.y) and ~~not~~ `code_x`.  \nNext<br>line.\n\n"
        "Two\n---\n\n- first\n- second\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n# no heading\n```\n"
    )
    assert blocks(source) == [
        Block(text="One", level=1),
        Block(text="It is very slow, see the site and not code_x. Next line."),
        Block(text="Two", level=2),
        Block(text="first"),
        Block(text="second"),
        Block(text="a | b", is_row=True),
        Block(text="1 | 2", is_row=True),
        Block(text="x = 1"),
        Block(text="# no heading"),
    ]


def test_formulas_stay_as_they_are_written() -> None:
    """What stands between dollar signs is no Markdown: its stars, strokes and backslashes are the formula's."""
    assert [
        block.text for block in blocks("The set $a_{i} \\{b*c*d\\}$ costs 3 $ or 4 $.\n\n$$\nE = m_1 * c_2\n$$\n")
    ] == [
        "The set $a_{i} \\{b*c*d\\}$ costs 3 $ or 4 $.",
        "$$ E = m_1 * c_2 $$",
    ]


def test_the_title_is_the_front_matters_or_the_first_heading() -> None:
    """Front matter is no text; a first heading that is the title is no section."""
    front = f'---\ntitle: "Mills: A History"\nauthor: Ada\n---\n\n# Mills: a history\n\n## Stones\n\n{TEXT}\n'
    extracted = read(front.encode(), "a.md", Options())
    assert (extracted.title, [heading.title for heading in extracted.headings]) == ("Mills: A History", ["Stones"])
    assert "Ada" not in extracted.pages[0]
    assert read(f"# Mills\n\n{TEXT}".encode(), "a.md", Options()).title == "Mills"
    assert read(f"# Introduction\n\n{TEXT}".encode(), "a.md", Options()).title == ""


@pytest.mark.slow
def test_no_depth_of_nesting_harms() -> None:
    """Quotes in quotes and brackets in brackets, ten thousand deep, are read in time."""
    for sign in (">", "[", "*", "- ", "`", "$"):
        assert read(f"{TEXT}\n\n{sign * 10_000}x\n".encode(), "a.md", Options()).pages[0].startswith("Grain")


def test_a_table_has_its_header() -> None:
    """The first row's cells, for chunks that begin among the others."""
    text = f"{TEXT}\n\n| mill | sacks |\n|---|---|\n| Rose | 12 |\n| Lamb | 7 |\n"
    (table,) = read(text.encode(), "a.md", Options()).tables
    assert table.header == "mill | sacks"
