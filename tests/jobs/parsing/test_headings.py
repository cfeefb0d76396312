from __future__ import annotations

import msgspec
import pytest

from jobs.parsing.heading_candidates import OutlineEntry
from jobs.parsing.headings import Found, find_headings
from jobs.parsing.layout import Box, Font, Layout, Line, Page

BODY = "The mill grinds the grain of the village in long and even turns of its stone."


def layout(printed: list[tuple[str, float, str]], *, per_page: int = 1000) -> Layout:
    """Lines of (text, size, font) one below the other; before one of another print, and after it, a block ends."""
    lines: list[Line] = []
    blocks: list[int] = []
    y = 60.0
    for number, (text, size, font) in enumerate(printed):
        changes = bool(number) and printed[number - 1][1:] != (size, font)
        y += size * (1.8 if changes else 1.2)
        box = Box(x=72 * 16, y=round(16 * y), w=round(16 * size * len(text) / 2), h=round(16 * size))
        weight = "bold" if "Bold" in font else "normal"
        style = Font(name=f"ABCDEF+{font}", weight=weight, style="normal", size=round(16 * size))
        lines.append(Line(text=text, bbox=box, font=style, x=box.x, y=box.y + box.h))
        blocks.append((blocks[-1] if blocks else 0) + changes)
    pages = [number // per_page for number in range(len(lines))]
    ranges = [range(start, min(start + per_page, len(lines))) for start in range(0, len(lines), per_page)]
    return Layout(
        lines=lines, page_of=pages, block_of=blocks, pages=[Page(lines=each, width=612, height=792) for each in ranges]
    )


def body(count: int = 8) -> list[tuple[str, float, str]]:
    return [(BODY, 10, "Roman")] * count


def titles(found: list[Found]) -> list[tuple[int, str]]:
    return [(each.level, each.title) for each in found]


def test_numbers_names_and_print_make_headings() -> None:
    """Levels are those of the numbers; a heading of two lines is one; captions, and table cells in bold, are none."""
    paper = layout(
        [
            ("A Study of Mills", 18, "Bold"), ("Ada Author", 12, "Bold"), ("Abstract", 10, "Bold"), *body(),
            ("1 Introduction", 12, "Bold"), *body(), ("2 Mills", 12, "Bold"), *body(),
            ("2.1 Stones that grind grain and", 10, "Bold"), ("those that do not", 10, "Bold"), *body(),
            ("Table 1: Stones of mills", 10, "Bold"), ("Stone", 8, "Sans"), ("3.5", 8, "Sans"), *body(),
            ("Acknowledgements", 12, "Bold"), *body(),
        ]
    )  # fmt: skip
    assert titles(find_headings(paper, [], set(), "A Study of Mills")) == [
        (1, "Abstract"),
        (1, "1 Introduction"),
        (1, "2 Mills"),
        (2, "2.1 Stones that grind grain and those that do not"),
        (1, "Acknowledgements"),
    ]


def test_the_outline_comes_first() -> None:
    """It finds a heading in the print of the body, and gives levels; an entry that the page does not have is passed over."""
    paper = layout(
        [("Introduction", 12, "Bold"), *body(), ("Of grain", 10, "Slanted"), *body(), ("Mills", 12, "Bold"), *body()]
    )
    outline = [
        OutlineEntry(level=2, title="1. Introduction", page=0),
        OutlineEntry(level=3, title="Of Grain", page=0),
        OutlineEntry(level=3, title="Of nothing", page=0),
    ]
    assert titles(find_headings(paper, outline, set(), "")) == [(1, "1. Introduction"), (2, "Of Grain"), (1, "Mills")]


def test_headings_that_run_into_their_text() -> None:
    """A numbered one in a print of its own, and the name of back matter, end where the text begins."""
    paper = layout(
        [
            ("1. Methods", 12, "Bold"), ("1.1. Quality Control. For quality, each stone", 10, "Italic"), *body(),
            ("Funding: The mill paid for this.", 8, "Bold"), *body(),
        ]
    )  # fmt: skip
    found = find_headings(paper, [], set(), "")
    assert titles(found) == [(1, "1. Methods"), (2, "1.1. Quality Control"), (1, "Funding")]
    assert [each.runs_in for each in found] == [False, True, True]


def test_a_note_on_the_first_page_is_no_section() -> None:
    """The text of the paper goes on below it."""
    paper = layout(
        [("1. Introduction", 12, "Bold"), *body(), ("Funding: The mill paid for this.", 8, "Bold"), *body(40)]
    )
    assert titles(find_headings(paper, [], set(), "")) == [(1, "1. Introduction")]


def test_a_line_of_a_paragraph_is_no_heading() -> None:
    """A name in italics at the start of a line, or a reference's journal, has text going on around it."""
    paper = layout(
        [
            ("Introduction", 12, "Bold"),
            *body(3),
            ("Ocimum basilicum and other plants", 10, "Italic"),
            ("grow here.", 10, "Roman"),
            *body(3),
        ]
    )
    assert titles(find_headings(paper, [], set(), "")) == [(1, "Introduction")]


def test_lines_that_are_left_out_are_no_headings() -> None:
    """Furniture and references are found by others."""
    paper = layout([("Introduction", 12, "Bold"), *body(), ("Discussion", 12, "Bold"), *body()])
    assert titles(find_headings(paper, [], {0}, "")) == [(1, "Discussion")]
    assert find_headings(layout([]), [], set(), "") == []


def test_headings_in_chinese_and_japanese() -> None:
    """Two signs are a word, and chapters have numbers of their own kind."""
    paper = layout(
        [
            ("第1章 引言", 12, "Bold"), *body(), ("第2章 水磨坊", 12, "Bold"), *body(), ("2.1 石臼の種類", 10, "Bold"), *body(),
            ("結論", 12, "Bold"), *body(),
        ]
    )  # fmt: skip
    assert titles(find_headings(paper, [], set(), "")) == [
        (1, "第1章 引言"),
        (1, "第2章 水磨坊"),
        (2, "2.1 石臼の種類"),
        (1, "結論"),
    ]


def test_a_bold_start_of_a_paragraph_is_no_heading() -> None:
    """Its line goes on in small letters, as wide and close below, even in a block of its own."""
    opening = "Stones In this part we say what the stones of a mill in the village are"
    paper = layout(
        [("1 Mills", 12, "Bold"), *body(), (opening, 10, "Bold"), (f"and how {BODY.lower()}", 10, "Roman"), *body()]
    )
    lines = list(paper.lines)
    number = next(index for index, line in enumerate(lines) if line.text == opening)
    box = lines[number].bbox
    raised = msgspec.structs.replace(box, y=box.y + 6 * 16)  # as close to the next line as lines of a paragraph are
    lines[number] = msgspec.structs.replace(lines[number], bbox=raised)
    assert titles(find_headings(msgspec.structs.replace(paper, lines=lines), [], set(), "")) == [(1, "1 Mills")]


def test_formulas_are_no_headings() -> None:
    """Nor lines that begin with a symbol in a print of its own; a numbered one may hold a relation."""
    paper = layout(
        [
            ("1 Mills", 12, "Bold"), *body(), ("A = UΣVT =U", 12, "Bold"), *body(), ("ZZT q Z", 12, "Bold"), *body(),
            ("A of the mill and its grain", 10, "CMMI10"), *body(),
            ("Stones for grain", 12, "Bold"), *body(), ("2 Error where q = 1", 12, "Bold"), *body(),
        ]
    )  # fmt: skip
    found = [title for _, title in titles(find_headings(paper, [], set(), ""))]
    assert found == ["1 Mills", "Stones for grain", "2 Error where q = 1"]


def test_the_labels_of_examples_are_no_headings() -> None:
    """Many on a few pages; those that are pages apart are the parts of a book."""
    examples = [part for at in range(5) for part in ((f"Question: what is mill {at}", 10, "Bold"), *body(3))]
    paper = layout([("1 Mills", 12, "Bold"), *body(), *examples])
    assert [title for _, title in titles(find_headings(paper, [], set(), ""))] == ["1 Mills"]
    parts = [part for at in range(5) for part in ((f"Mills: part {at}", 12, "Bold"), *body(29))]
    book = layout([("1 Mills", 12, "Bold"), *body(29), *parts], per_page=10)
    assert len(find_headings(book, [], set(), "")) == 6


def front(line: str, *, before: int = 0) -> list[str]:
    """The titles found where a line stands in bold on a page before that of the first heading."""
    paper = layout(
        [*body(40 * before), (line, 12, "Bold"), *body(39), ("Grain", 12, "Bold"), *body(), ("Background", 12, "Bold"), *body()],
        per_page=40,
    )  # fmt: skip
    return [each.title for each in find_headings(paper, [], set(), "")]


@pytest.mark.parametrize(
    "line",
    [
        "Anna Bane 5 and Sharon Miller Mozes 2",
        "Anna Bane5, Sharon Miller-Mozes2,3",
        "A.-M. Bane 1,*, José de la Cruz 2 & Zoë O’Neill 1,2",
        "Anna Bane*, Ben van der Meer†",
        "Sharon Miller 1,2,*",
    ],
)
def test_a_line_of_authors_is_no_heading(line: str) -> None:
    """On the first pages, by the marks of their addresses; it stays one far behind, and names alone may be a heading."""
    assert front(line) == ["Grain", "Background"]
    assert front(line, before=1) == ["Grain", "Background"]
    assert front(line, before=2) == [line, "Grain", "Background"]


@pytest.mark.parametrize(
    "line",
    [
        "Anna Bane and Sharon Miller Mozes",
        "Clinical Trial 2",
        "Trial 1 and Trial 2",
        "Winter School 2019, Summer School 2020",
        "Mills and Their Stones, 2",
        "Grinding of the grain 1 and of the stone 2",
        "The Mills of Type 2 and Their Stones",
    ],
)
def test_a_heading_with_numbers_is_no_line_of_authors(line: str) -> None:
    """Where one word, or a small one, stands before a number, or the marks of one author are a single number."""
    assert front(line) == [line, "Grain", "Background"]


def test_authors_behind_the_first_heading_are_not_looked_for() -> None:
    """Two trials with names of two words may be a heading, once headings have begun."""
    line = "Winter Trial 1 and Summer Trial 2"
    paper = layout([("Background", 12, "Bold"), *body(), (line, 12, "Bold"), *body()])
    assert titles(find_headings(paper, [], set(), "")) == [(1, "Background"), (1, line)]
