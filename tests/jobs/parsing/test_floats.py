from __future__ import annotations

from printed_papers import Print, column, layout_of, prose

from jobs.parsing.floats import in_sentence_order
from jobs.parsing.layout import Layout


def ordered(layout: Layout) -> list[str]:
    return [layout.lines[number].text.strip() for number in in_sentence_order(layout, range(len(layout.lines)))]


HALF = [*prose(12)[:-1], "and so the miller looks at the flour that"]
REST = [
    "comes from the stones, and is content.",
]
CAPTION = ["Figure 3. The mill from the side of the river,", "with all of its sails."]


def test_a_caption_in_a_sentence_goes_behind_the_paragraph() -> None:
    """The caption stays whole, and the next paragraph stays behind it."""
    later = prose(5, "baker")
    layout = layout_of([[*column(HALF), *column(CAPTION, y=300, size=8), *column(REST, y=400), *column(later, y=450)]])
    assert ordered(layout) == [*HALF, *REST, *CAPTION, *later]


def test_a_footnote_between_two_pages() -> None:
    """What ends one page and stands between the halves of a sentence, in small print."""
    note = ["1 A miller is a person who owns a mill or works in it."]
    layout = layout_of([[*column(HALF), *column(note, y=700, size=7)], [*column(REST), *column(prose(5), y=300)]])
    assert ordered(layout) == [*HALF, *REST, *note, *prose(5)]


def test_where_no_sentence_is_cut_nothing_moves() -> None:
    """A caption between two paragraphs, and a formula inside of a sentence."""
    between = layout_of([[*column(prose(6)), *column(CAPTION, y=300, size=8), *column(prose(6, "baker"), y=400)]])
    assert ordered(between) == [*prose(6), *CAPTION, *prose(6, "baker")]
    formula = layout_of([[*column(HALF), Print(250, 300, "a = b + c"), *column(REST, y=400)]])
    assert ordered(formula) == [*HALF, "a = b + c", *REST]
