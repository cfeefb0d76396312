from __future__ import annotations

from printed_papers import Print, column, layout_of, prose, texts

from jobs.parsing.furniture import find_furniture

THEMES = ("mill", "stream", "baker", "field", "market", "winter")


def body(number: int) -> list[Print]:
    return column(prose(20, THEMES[number]), y=120)


def test_running_heads_feet_and_page_numbers() -> None:
    """What repeats at one height, numbers aside, and numbers that count with the pages; and no line of the text."""
    pages = [
        [
            Print(72, 40, f"Miller et al. / Journal of Mills 12 ({2000 + number})"),
            *body(number),
            Print(300, 800, str(11 + number)),
            Print(72, 815, "Downloaded from mills.example"),
        ]
        for number in range(6)
    ]
    layout = layout_of(pages)
    expected = [each.text for page in pages for each in (page[0], *page[-2:])]
    assert sorted(texts(layout, find_furniture(layout))) == sorted(expected)


def test_heads_that_change_with_the_chapter() -> None:
    """One that stands on a single page goes where the others stand."""
    heads = ["1 Of the grain", "1 Of the grain", "1 Of the grain", "2 Of the stones", "2 Of the stones", "3 Of the end"]
    layout = layout_of([[Print(72, 40, head, 8), *body(number)] for number, head in enumerate(heads)])
    assert texts(layout, find_furniture(layout)) == heads


def test_line_numbers() -> None:
    """They count down the margin of each page; the numbers of a table's rows do not stand in the margin."""
    pages = []
    for page in range(3):
        lines = body(page)
        counted = [Print(40, line.y, str(20 * page + row + 1), 6) for row, line in enumerate(lines)]
        table = [
            Print(72 + 150 * side, 500 + 14 * row, str(row + 1) if not side else prose(24)[8 * page + row][:30])
            for row in range(8)
            for side in (0, 1)
        ]
        pages.append([each for pair in zip(counted, lines, strict=True) for each in pair] + table)
    layout = layout_of(pages)
    assert texts(layout, find_furniture(layout)) == [str(number) for number in range(1, 61)]


def test_stamps_in_the_margin() -> None:
    """A stamp of a preprint server that runs up the margin of the first page."""
    stamp = "arXiv:2401.00001v1  [cs.MI]  1 Jan 2024"
    layout = layout_of([[Print(30, 500, stamp, 16, turned=True), *body(0)], body(1)])
    assert texts(layout, find_furniture(layout)) == [stamp]


def test_the_imprint_of_a_first_page() -> None:
    """At the edge of the first page, in no larger print than the text; the title below is none."""
    layout = layout_of(
        [[Print(72, 40, "Journal of Mills, Vol. 3, 2019", 8), Print(72, 80, "How a Mill Grinds", 18), *body(0)]]
    )
    assert texts(layout, find_furniture(layout)) == ["Journal of Mills, Vol. 3, 2019"]


def test_a_form_is_no_furniture() -> None:
    """Where all pages say the same, that is what they say."""
    layout = layout_of([column(["The same words stand on every page.", "And so do these, at the same height."])] * 5)
    assert find_furniture(layout) == frozenset()


def test_a_filled_in_form_keeps_its_fields() -> None:
    """Labels and like answers at one place of each page are the text of a short form, not its furniture."""
    pages = [
        [
            *(Print(72, 80 + 40 * row, label, 11) for row, label in enumerate(("Name:", "Address:", "Date of birth:"))),
            Print(200, 80, f"Person {number} Miller", 11),
            Print(200, 120, f"Street {7 * number + 3}, Millbrook", 11),
            Print(200, 160, f"{number + 1}.02.1980", 11),
            Print(72, 200, f"Reason: a cough of {number + 2} weeks {THEMES[number]}", 11),
        ]
        for number in range(4)
    ]
    layout = layout_of(pages)
    assert texts(layout, find_furniture(layout)) == []


def test_captions_repeat_and_stay() -> None:
    """Tables at the heads of pages, whose captions differ by their numbers only."""
    pages = [[Print(72, 40, f"Table {number + 1} Grain by weight"), *body(number)] for number in range(5)]
    layout = layout_of(pages)
    assert find_furniture(layout) == frozenset()


def test_lines_of_paragraphs_say_no_imprint() -> None:
    """A paragraph that ends a page may say where data come from, with an address or a year."""
    ends = ("https://mills.example, as other workshops on grain (2019) 12", "downloaded from the archive of the mills.")
    pages = [[*column([*prose(20, THEMES[number])[:-1], end], y=120)] for number, end in enumerate(ends)]
    assert texts(layout_of(pages), find_furniture(layout_of(pages))) == []


def test_headings_of_slides() -> None:
    """Some repeat at one height, and all stand where these do, in large print; only the foot is furniture."""
    heads = ("Why mills", "How wheels turn", "Results", "Results", "Results", "Discussion", "Conclusion", "Questions")
    pages = [
        [
            Print(72, 60, head, 24),
            *column(prose(5, f"{THEMES[number % 6]} {number}"), y=120, size=16),
            Print(72, 800, "Mill Days", 8),
        ]
        for number, head in enumerate(heads)
    ]
    layout = layout_of(pages)
    assert texts(layout, find_furniture(layout)) == ["Mill Days"] * 8


def test_a_refrain_is_no_running_head() -> None:
    """The first line of a paragraph on each page, in the print of the text."""
    refrain = "Turn, my mill, and turn again"
    layout = layout_of([column([refrain, *prose(20, THEMES[number])], y=60) for number in range(5)])
    assert not find_furniture(layout)


def test_a_sign_that_is_the_same_number_on_each_page() -> None:
    """As the mark of a publisher comes out."""
    layout = layout_of([[*body(number), Print(500, 815, "123")] for number in range(4)])
    assert texts(layout, find_furniture(layout)) == ["123"] * 4


def test_lines_of_one_sign_say_nothing() -> None:
    """Five "a1111111111" are the glyphs of a logo; they stand in no margin, and on a single page."""
    logo = [Print(300, 420 + 9 * row, "a1111111111", 7) for row in range(5)]
    rule = [Print(72, 600, "********************")]
    layout = layout_of([[*body(0), *logo, *rule], body(1)])
    assert texts(layout, find_furniture(layout)) == [*["a1111111111"] * 5, "********************"]


def test_lines_of_few_signs_and_those_that_lead_on_stay() -> None:
    """Dots, lines and dashes are the text's; so are seven signs, two words, and a sign beside words in its block."""
    kept = [
        "..........",
        "__________",
        "----------",
        "⋅⋅⋅⋅⋅⋅⋅⋅⋅⋅",
        "a1111111",
        "aaaaaaaa bbbbbbbb",
        "ab11111111",
        "10000000001",
    ]
    alone = [Print(300, 400 + 30 * row, text, 8) for row, text in enumerate(kept)]
    cell = column(["The primer ends in", "TTTTTTTTTTTTTTTT", "and begins in"], x=72, y=650)
    layout = layout_of([[*body(0), *alone, *cell], body(1)])
    assert texts(layout, find_furniture(layout)) == []
