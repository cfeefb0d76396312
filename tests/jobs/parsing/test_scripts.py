from __future__ import annotations

from typing import Literal

import pytest
from printed_papers import Print, layout_of

from jobs.parsing.layout import Layout
from jobs.parsing.scripts import with_raised


def page(*lines: str) -> Layout:
    """Lines in which "{…}" is raised, and "<…>" is lowered."""
    prints = []
    for row, line in enumerate(lines):
        x, shift, size = 72.0, 0, 10.0
        for piece in line.replace("{", "\0^").replace("<", "\0_").replace("}", "\0=").replace(">", "\0=").split("\0"):
            text = piece
            if piece[:1] in "^_=" and piece:
                text, shift = piece[1:], {"^": 4, "_": -2, "=": 0}[piece[0]]
                size = 10.0 if piece[0] == "=" else 6.5
            prints.append(Print(x, 90 + 20 * row - shift, text, size))
            x += _width(text, size)
    return layout_of([prints])


def _width(text: str, size: float) -> float:
    import pymupdf

    return float(pymupdf.get_text_length(text, fontsize=size))


def read(*lines: str, citations: Literal["mark", "drop", "keep"] = "mark") -> list[str]:
    layout = page(*lines)
    texts = with_raised(layout, citations)
    return [texts.get(number, line.text).strip() for number, line in enumerate(layout.lines)]


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("for 2{19} = 524,288 steps of it", "for 2^19 = 524,288 steps of it"),
        ("about 2.3 x 10{19} and 10{-3} of them", "about 2.3 x 10^19 and 10^-3 of them"),
        ("a speed of 3 m s{-1} on 5 cm{2} of it", "a speed of 3 m s^-1 on 5 cm^2 of it"),
        ("where x{2} and (a + b){3} are", "where x^2 and (a + b)^3 are"),
        ("water is H<2>O and not more", "water is H2O and not more"),
        ("ions of Ca{2+} are in it", "ions of Ca2+ are in it"),
        ("the age by {14}C of the wood", "the age by 14C of the wood"),
        ("we had 10 {14}C dates and 3 {137}Cs cores", "we had 10 14C dates and 3 137Cs cores"),
        ("where sin{2} x and log{2} n are", "where sin^2 x and log^2 n are"),
        ("on the 5{th} of May it was", "on the 5th of May it was"),
    ],
)
def test_exponents_are_told_from_names(printed: str, text: str) -> None:
    """What is raised and a number is one; lowered digits, charges, isotopes and endings stay."""
    assert read(printed) == [text]


CITED = (
    "as the mills show{1} in winter",
    "and all bakers know.{2,3} Then",
    "stones wear{4} down{5-7}, and",
    "wheels (all) turn{8} in 10{9} years",
)


@pytest.mark.parametrize(
    ("citations", "expected"),
    [
        (
            "mark",
            [
                "as the mills show [1] in winter",
                "and all bakers know [2,3]. Then",
                "stones wear [4] down [5-7], and",
                "wheels (all) turn [8] in 10^9 years",
            ],
        ),
        (
            "drop",
            [
                "as the mills show in winter",
                "and all bakers know. Then",
                "stones wear down, and",
                "wheels (all) turn in 10^9 years",
            ],
        ),
        (
            "keep",
            [
                "as the mills show1 in winter",
                "and all bakers know.2,3 Then",
                "stones wear4 down5-7, and",
                "wheels (all) turn8 in 10^9 years",
            ],
        ),
    ],
)
def test_citations(citations: Literal["mark", "drop", "keep"], expected: list[str]) -> None:
    """Marked, left out or kept as they are printed; exponents are the same in any case."""
    assert read(*CITED, citations=citations) == expected


def test_powers_of_functions_are_no_citations() -> None:
    """Although other raised numbers of the document are."""
    assert read(*CITED, "so sin{2} x is small")[-1] == "so sin^2 x is small"


def test_the_marks_of_authors_stay() -> None:
    """On a first page, behind names, they lead to addresses."""
    names = "Anna Miller{1}, Bert Brewer{2} and Carl Cooper{1}"
    assert read(names, *CITED)[0] == "Anna Miller1, Bert Brewer2 and Carl Cooper1"


def test_marks_of_years_are_no_exponents_and_powers_of_two_are() -> None:
    """Where other raised numbers are citations."""
    assert read(*CITED, "since 2010{4} on grids of 64{3} points")[-1] == "since 2010 [4] on grids of 64^3 points"


def test_raised_numbers_are_found_where_they_stand() -> None:
    """Not where the same digits stand before them, and also with a label glued to them."""
    assert read("60", "100", "120", "10{0}", "10{1}") == ["60", "100", "120", "10^0", "10^1"]
    assert read("v2 and v{2} are, v2 and v{2}") == ["v2 and v^2 are, v2 and v^2"]
    assert read("10{1}{ Asynchronous training}") == ["10^1 Asynchronous training"]


@pytest.mark.parametrize(
    ("citations", "expected"),
    [
        ("mark", ["stones wear [4] down.", "[4] Some of them do not.", "[10] In winter they rest."]),
        ("drop", ["stones wear down.", "Some of them do not.", "In winter they rest."]),
        ("keep", ["stones wear4 down.", "4Some of them do not.", "10In winter they rest."]),
    ],
)
def test_a_footnote_begins_with_its_mark(citations: Literal["mark", "drop", "keep"], expected: list[str]) -> None:
    """As the mark that leads to it from the text of its page is written, two footnotes below each other, too."""
    cited = (*CITED, "and wheels turn{10} in it", "stones wear{4} down.")
    lines = read(*cited, "{4}Some of them do not.", "{10}In winter they rest.", citations=citations)
    assert lines[-3:] == expected


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("{4}https://mills.example/", "[4] https://mills.example/"),
        ("{4} Note that it rests.", "[4] Note that it rests."),
        ('{4}"Stones" are not rocks.', '[4] "Stones" are not rocks.'),
        ("{4}A stone is no rock.", "[4] A stone is no rock."),
        ("{4}K3 is the best of them.", "[4] K3 is the best of them."),
        ("{4}He was found in its gas", "4He was found in its gas"),
        ("{11}Mills that nobody cites rest.", "11Mills that nobody cites rest."),
        ("{4}C dates are no notes of it", "4C dates are no notes of it"),
        ("{4}Ca ions are no notes of it", "4Ca ions are no notes of it"),
        ("{4}n is a power of its own", "4n is a power of its own"),
        ("4Some that is not raised at all", "4Some that is not raised at all"),
        ("4 Methods and Materials", "4 Methods and Materials"),
        ("4.1 Methods and Materials", "4.1 Methods and Materials"),
        ("4th of May and 2{19} = 524,288", "4th of May and 2^19 = 524,288"),
    ],
)
def test_what_begins_a_footnote(printed: str, text: str) -> None:
    """A raised number that is cited on the page, and a word behind it; no symbol, no heading, nothing on the baseline."""
    assert read(*CITED, printed)[-1] == text


def test_a_footnote_on_another_page_than_its_number_is_none() -> None:
    """The text of its own page leads to it."""
    layout = page(*CITED)
    assert with_raised(layout)
    alone = page("and so they do", "{4}Some of them do not.")
    assert with_raised(alone) == {}


def test_addresses_on_the_first_page_stay() -> None:
    """Authors lead to them, and their numbers are those of citations, too; a footnote with a name is none of them."""
    names = "Anna Miller{1}, Bert Brewer{2} and Carl Cooper{1}"
    read_lines = read(names, "{1}Department of Mills, Millbrook", *CITED, "{4}MILL: The Great Grinder of Grain")
    assert read_lines[1] == "1Department of Mills, Millbrook"
    assert read_lines[-1] == "[4] MILL: The Great Grinder of Grain"


@pytest.mark.parametrize(
    ("cited", "text"),
    [
        ("it turns on{1} the wheel", "it turns on [1] the wheel"),
        ("it turns the LP,{1} that is", "it turns the LP [1], that is"),
        ("it turns the wheel {1}.", "it turns the wheel [1]."),
        ("it turns it (all of it).{1} Then", "it turns it (all of it) [1]. Then"),
        ("since 2010{1} it turns", "since 2010 [1] it turns"),
        ("so cos{1} x is small", "so cos1 x is small"),
        ("it has 10 {1}H dates in it", "it has 10 1H dates in it"),
        ("for 10{1} of them", "for 10^1 of them"),
    ],
)
def test_a_footnote_tells_its_mark_where_marks_are_few(cited: str, text: str) -> None:
    """Fewer than tell that the raised numbers of a document are no exponents; these stay as they are."""
    assert read(cited, "and weights y{1} or areas{3}", "{1}Some of them do not.")[:2] == [
        text,
        "and weights y^1 or areas3",
    ]


def test_the_powers_of_units_lead_to_no_footnote() -> None:
    """Although a footnote of their number stands on the page."""
    lines = read("a field of 18 deg{2} and 5 cm{2}", "of a mill that turns{2} in it", "{2}Some of them do not.")
    assert lines == ["a field of 18 deg2 and 5 cm^2", "of a mill that turns [2] in it", "[2] Some of them do not."]


def test_names_behind_numbers_are_no_footnotes_where_marks_are_few() -> None:
    """They may be addresses on any page."""
    assert read("a mill that turns{2} in it", "{2} University of Mills") == [
        "a mill that turns2 in it",
        "2 University of Mills",
    ]
