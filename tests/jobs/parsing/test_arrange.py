from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from printed_papers import Print, column, layout_of, prose, reference_list, written

from jobs.parsing.arrange import arrange, kinds_of, what_is_left_out
from jobs.parsing.chunks import chunk_pages
from jobs.parsing.parsers import Options
from jobs.parsing.pdf import read

HEAD = "Journal of Mills"
LINE = st.one_of(
    st.sampled_from([HEAD, "References", "12", "Figure 2. A mill", *reference_list(2), *prose(5)]),
    st.text("abc XYZ 129.,-", min_size=1, max_size=60),
)
PAGES = st.lists(
    st.lists(st.tuples(st.integers(20, 800), st.sampled_from([7, 10, 14]), LINE), max_size=12), min_size=1, max_size=5
)
OPTIONS = st.builds(
    Options,
    references=st.sampled_from(["drop", "mark", "keep"]),
    furniture=st.sampled_from(["drop", "keep"]),
    axes=st.sampled_from(["drop", "keep"]),
)


def letters(texts: list[str]) -> Counter[str]:
    return Counter("".join("".join(texts).split()))


@settings(max_examples=40, deadline=None)
@given(PAGES, OPTIONS)
def test_nothing_but_the_named_kinds_disappears(pages: list[list[tuple[int, int, str]]], options: Options) -> None:
    """Each letter stands in a segment, or in what is left out, and there only in a kind that is to go."""
    layout = layout_of([[Print(72, y, text, size) for y, size, text in page] for page in pages])
    kinds = kinds_of(layout)
    kept = [segment.text for segment in arrange(layout, kinds, options).segments]
    left = list(what_is_left_out(layout, kinds, options))
    assert letters(kept) + letters([each.text for each in left]) == letters([line.text for line in layout.lines])
    assert not any(options.keeps(each.kind) for each in left)


def paper() -> list[list[Print]]:
    pages = [
        column(prose(30)),
        column([*prose(10, "stream"), "References", *reference_list(10)]),
        column(["Appendix", *prose(30, "baker")]),
    ]
    return [[Print(72, 40, HEAD, 8), *page, Print(300, 800, str(number))] for number, page in enumerate(pages, 1)]


def test_what_is_left_out_is_counted_and_kept() -> None:
    """By page and kind, and the rest of the paper is all there."""
    layout = layout_of(paper())
    kinds = kinds_of(layout)
    left = list(what_is_left_out(layout, kinds, Options()))
    assert {(each.kind, each.page) for each in left} == {
        *((("furniture", page)) for page in range(3)),
        ("references", 1),
    }
    text = "".join(segment.text for segment in arrange(layout, kinds, Options()).segments)
    for line in (*prose(30), *prose(10, "stream"), "Appendix", *prose(30, "baker")):
        assert f"{line}\n" in text
    assert HEAD not in text
    assert "Journal of Mills" not in text


@pytest.mark.parametrize("references", ["mark", "keep"])
def test_no_chunk_crosses_the_borders_of_references(references: str) -> None:
    """Each chunk is of one part; the parts are text, references, and text."""
    extracted = read(written(paper()), "paper.pdf", Options(references=references))  # type: ignore[arg-type]
    pieces = chunk_pages(extracted.pages, chunk_size=1024, chunk_overlap=50, parts=extracted.parts)
    assert [piece.part for piece in pieces] == ["", "references", ""]
    assert pieces[1].text.startswith("References")
    assert pieces[2].text.startswith("Appendix")
    assert extracted.left_out.keys() == {"furniture"}


def test_furniture_that_is_kept_does_not_part_a_list() -> None:
    """A page number inside of the references goes with them."""
    pages = paper()
    pages[2] = [Print(72, 40, HEAD, 8), *column([*reference_list(20)[20:], "Appendix", *prose(20, "baker")])]
    extracted = read(written(pages), "", Options(references="mark", furniture="keep"))
    assert [part.kind for part in extracted.parts] == ["references", ""]


def test_a_word_that_a_page_breaks_is_whole() -> None:
    """Its second half goes to the page of its first."""
    first = [*prose(12)[:-1], "and so the miller looks at the grind-"]
    extracted = read(written([column(first), column(["ing of the stones, and is content.", *prose(9)])]), "", Options())
    assert extracted.pages[0].endswith("at the grinding")
    assert extracted.pages[1].startswith("of the stones")


def test_two_columns_are_read_one_after_the_other() -> None:
    """With a head above, a foot below, and a caption between the columns' halves of a sentence."""
    cut = "and so the miller looks at the flour that"
    pages = [
        [
            Print(72, 40, HEAD, 8),
            *column([*(line[:40] for line in prose(30, left)[:-1]), cut], x=60, y=80),
            *column(["Fig. 1. The mill."], x=60, y=700, size=7),
            *column(
                [f"comes from the {left}.", *(line[:40] for line in prose(29, right)), "and it ends."], x=320, y=80
            ),
            Print(300, 800, str(page), 8),
        ]
        for page, (left, right) in enumerate([("mill", "brook"), ("sail", "farm"), ("wheel", "cart")], 1)
    ]
    text = read(written(pages), "", Options()).pages[0]
    assert "looks at the flour that comes from the mill." in text
    assert text.index("that comes") < text.index("Fig. 1. The mill.")
    assert HEAD not in text
