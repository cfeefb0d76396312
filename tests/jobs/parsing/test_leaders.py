from __future__ import annotations

import pytest

from jobs.parsing.leaders import is_contents

ENTRIES = ("1 Of grain", "1.1 Of its stones", "2 Of the mill", "A Of its wheels and sails")
PROSE = "The mill grinds the grain of the village in long and even turns of its stone. "


def contents(leader: str, between: str, *pages: str) -> str:
    return between.join(f"{entry}{leader}{page}" for entry, page in zip(ENTRIES, pages, strict=True))


@pytest.mark.parametrize("between", ["\n\n", " "])
@pytest.mark.parametrize("leader", ["⋅⋅⋅⋅⋅⋅⋅⋅⋅ ", "......... ", " . . . . . ", "…… ", "・・・・・・", "·········"])
def test_a_table_of_contents_is_known_by_its_leaders(leader: str, between: str) -> None:
    """Of whatever dots, an entry on each line or all of them in one paragraph."""
    assert is_contents(contents(leader, between, "3", "4", "14", "115"))
    assert is_contents(f"List of Mills\n\n{contents(leader, between, 'iv', 'ix', '1', '7')}")


def test_a_chunk_may_cut_an_entry_at_either_end() -> None:
    """In its leader, as where a chunk is small."""
    assert is_contents("....... 3 1.1 Of its stones ........... 4 2 Of the mill .......")


def test_lists_of_figures_may_begin_anew() -> None:
    """The numbers of pages go down once where one list ends and another begins."""
    assert is_contents(contents("..... ", "\n\n", "30", "45", "3", "7"))


@pytest.mark.parametrize(
    "text",
    [
        f"{contents('..... ', ' ', '3', '4', '14', '115')}\n\n{PROSE * 3}",  # less than half of the letters
        PROSE * 2 + "It turns ..... 3 times. " + PROSE * 2,
        contents("..... ", "\n\n", "a year", "a day", "an hour", "never"),  # a form to fill in
        contents("..... ", "\n\n", "17.5", "18.1", "19.3", "20.7"),  # a table of numbers
        "\n".join(contents("..... ", "\n", *pages) for pages in (("9", "2", "8", "1"), ("7", "3", "6", "4"))),
        contents(" ", "\n\n", "3", "4", "14", "115"),
        "1 Of grain ..... 3\n\n2 Of the mill ..... 4",  # two entries are too few to say
        "a1 . . . . 1 0 . . . . 0 1 . . . . 2 0 of the rows of the matrix",
        "",
    ],
)
def test_other_texts_are_no_contents(text: str) -> None:
    """Leaders among prose, before other things than pages, and pages without leaders."""
    assert not is_contents(text)
