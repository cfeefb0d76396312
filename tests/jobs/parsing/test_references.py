from __future__ import annotations

import pytest
from printed_papers import column, layout_of, prose, reference_list, texts

from jobs.parsing.references import find_references


def found_in(*pages: list[str]) -> list[str]:
    layout = layout_of([column(page) for page in pages])
    return texts(layout, [number for each in find_references(layout) for number in each])


@pytest.mark.parametrize(
    "heading", ["References", "6. REFERENCES", "Bibliography", "Literatur", "Literature Cited", "R E F E R E N C E S"]
)
def test_a_list_is_found_by_its_heading(heading: str) -> None:
    """The heading belongs to it; the text before does not."""
    assert found_in([*prose(20), heading, *reference_list(12)]) == [heading, *reference_list(12)]


def test_the_appendix_behind_the_references_is_text() -> None:
    """The list ends where the appendix begins, with and without a heading that says so."""
    listed = reference_list(10)
    for heading in ("Appendix A", "B  More about mills"):
        assert found_in([*prose(8), "References", *listed], [heading, *prose(25, "stream")]) == ["References", *listed]


def test_references_in_the_middle_and_a_second_list() -> None:
    """The methods between two lists are text, and the second one needs no heading where its numbers go on."""
    first, second = reference_list(8), reference_list(16)[16:]
    between = ["Methods", *prose(30, "brook")]
    assert found_in([*prose(8), "References", *first], [*between, *second]) == ["References", *first, *second]


def test_numbers_alone_make_no_list() -> None:
    """An enumeration, a table of contents and a paragraph of citations are text."""
    steps = [f"{number}. Turn the stone {number} times and look at the flour." for number in range(1, 12)]
    contents = ["Contents", "1 Introduction", "2 Methods", "References", "A Appendix"]
    cited = [
        f"as was shown for the {word} by Miller et al. (2019) and again by Brewer et al. (2020)" for word in "abcdefgh"
    ]
    assert found_in([*contents, *prose(12), *steps, *prose(5), *cited, *prose(10)]) == []


def test_what_follows_a_list_on_its_page_is_text() -> None:
    """Acknowledgements with many initials are no references."""
    thanks = ["Acknowledgements We thank A. Miller, B. Brewer and C. Cooper for the grain,", *prose(6, "donor")]
    assert found_in([*prose(10), "References", *reference_list(9), *thanks]) == ["References", *reference_list(9)]
