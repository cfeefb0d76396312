from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.parsing.chunks import chunk_pages
from jobs.parsing.extracted import Heading, Part
from jobs.parsing.sections import Section, path_of, sections, spans

PAGES = [
    "Intro\n\n" + "One mill grinds. " * 40,
    "Methods\n\nStones\n\n" + "Two mills grind. " * 40 + "\n\nWater\n\nShort.",
]
HEADINGS = [
    Heading(level=1, title="Intro", page=0, start=0),
    Heading(level=1, title="Methods", page=1, start=0),
    Heading(level=2, title="Stones", page=1, start=9),
    Heading(level=2, title="Water", page=1, start=PAGES[1].index("Water")),
]
MANY = st.lists(st.integers(0, 500), unique=True).map(sorted)


def test_a_section_knows_the_headings_above_it() -> None:
    """A heading ends all sections of its level and below; levels may be missing."""
    starts = [0, len(PAGES[0]) + 2]
    assert [each.path for each in sections(HEADINGS, starts)] == [
        ["Intro"],
        ["Methods"],
        ["Methods", "Stones"],
        ["Methods", "Water"],
    ]


def test_chunks_end_where_sections_do_and_know_theirs() -> None:
    """A section that is too short for a chunk of its own stays with the one before; it has the larger one's path."""
    pieces = chunk_pages(PAGES, chunk_size=300, chunk_overlap=20, headings=HEADINGS)
    assert [piece.section for piece in pieces] == [["Intro"], ["Methods", "Stones"]]
    assert pieces[0].text.endswith("grinds.")
    assert pieces[1].text.startswith("Methods")
    assert pieces[1].text.endswith("Short.")
    assert [(piece.page_first, piece.page_last) for piece in pieces] == [(1, 1), (2, 2)]


def test_no_chunk_reaches_over_a_border() -> None:
    """However little it leaves on either side."""
    place = PAGES[1].index("Short.")
    pieces = chunk_pages(PAGES, chunk_size=300, chunk_overlap=20, parts=[Part(kind="references", page=1, start=place)])
    assert pieces[-1].text == "Short."
    assert not any("Short." in piece.text for piece in pieces[:-1])


def test_a_piece_of_many_sections_has_what_they_share() -> None:
    """The path of more than half of it; else the headings that all of them stand under."""
    parts = [
        Section(start=start, path=path)
        for start, path in [(10, ["A"]), (20, ["A", "B"]), (40, ["A", "C"]), (60, ["D"])]
    ]
    assert path_of(parts, 12, 19) == ["A"]
    assert path_of(parts, 15, 40) == ["A", "B"]
    assert path_of(parts, 20, 60) == ["A"]
    assert path_of(parts, 40, 80) == []
    assert path_of(parts, 0, 8) == []


@given(MANY, MANY, st.integers(1, 500), st.integers(0, 100))
def test_spans_are_the_whole_text_and_none_is_too_short(
    starts: list[int], borders: list[int], length: int, least: int
) -> None:
    """They follow each other without a gap; only a border makes one shorter than the least."""
    found = spans(length, [Section(start=start, path=[]) for start in starts if start < length], borders, least)
    assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == length
    hard = {0, length, *borders}
    assert all(end - start >= least for start, end in found if not {start, end} <= hard)
    assert {border for border in borders if 0 < border < length} <= {end for _, end in found}


def test_a_numbered_section_is_no_part_of_thanks() -> None:
    """Else a whole book would be passed over with them."""
    found = [
        Heading(level=1, title="Agradecimientos", page=0, start=0),
        Heading(level=2, title="1.1. El molino", page=1, start=0),
    ]
    assert [each.path for each in sections(found, [0, 100])] == [["Agradecimientos"], ["1.1. El molino"]]
