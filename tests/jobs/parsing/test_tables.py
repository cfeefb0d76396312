from __future__ import annotations

from itertools import pairwise

import pytest
from printed_papers import Print, column, layout_of, prose, texts, written

from jobs.parsing.chunks import chunk_pages
from jobs.parsing.layout import Layout
from jobs.parsing.parsers import Options
from jobs.parsing.pdf import read
from jobs.parsing.tables import find_tables
from jobs.parsing.tokens import count_any_tokens

COLUMNS = (72, 200, 280, 360)
HEADER = ["Mill", "Sacks", "Stones", "Share"]


def row(y: float, cells: list[str], columns: tuple[int, ...] = COLUMNS) -> list[Print]:
    return [Print(x, y, text, 8) for x, text in zip(columns, cells, strict=False) if text]


def numbers(count: int, y: float = 120, first: int = 0) -> list[Print]:
    cells = [
        [f"Windmill {first + at}", str(100 + 7 * at), str(at % 4 + 1), f"{at % 9 + 1}.5"] for at in range(1, count + 1)
    ]
    return [each for at, own in enumerate(cells) for each in row(y + 10 * at, own)]


def tables_of(*pages: list[Print]) -> tuple[Layout, list[tuple[list[str], str]]]:
    """The header's cells of each table, and the first cell of its rows."""
    layout = layout_of(pages)
    found = find_tables(layout, range(len(layout.lines)))
    return layout, [(texts(layout, each.header), layout.lines[each.rows[0]].text.strip()) for each in found]


def test_the_cells_above_rows_of_numbers_are_their_header() -> None:
    """With the caption above them, and without the text around the table or the name of its first group of rows."""
    page = [
        *column(prose(4), y=40),
        *column(["Table 2. Mills of the valley."], y=96, size=8),
        *row(108, HEADER),
        *row(118, ["Mills of stone"]),
        *numbers(12, 128),
        *column(prose(20, "baker"), y=270),
    ]
    _, found = tables_of(page)
    assert found == [
        (sorted(["Table 2. Mills of the valley.", *HEADER], key=len, reverse=True)[:1] + HEADER, "Windmill 1")
    ]


def test_a_header_of_several_lines_is_whole() -> None:
    """Cells that stand on two lines, and one that spans two columns."""
    page = [
        *row(100, ["", "in a year"]),
        *row(110, HEADER),
        *row(120, ["", "of rye", "in use", "(%)"]),
        *numbers(9, 134),
    ]
    _, ((header, first),) = tables_of(page)
    assert sorted(header) == sorted(["in a year", *HEADER, "of rye", "in use", "(%)"])
    assert first == "Windmill 1"


def test_rows_on_the_next_page_have_the_header_of_the_page_before() -> None:
    """Where their columns are the same; other columns have none."""
    page = [*row(100, HEADER), *numbers(40, 112)]
    after = [*numbers(20, 60, first=40), *column(prose(20), y=300)]
    _, found = tables_of(page, after)
    assert found == [(HEADER, "Windmill 1"), (HEADER, "Windmill 41")]
    moved = [Print(each.x + 45, each.y, each.text, 8) for each in numbers(20, 60, first=40)]
    assert len(tables_of(page, moved)[1]) == 1
    assert len(tables_of(page, [*column(prose(9), y=40), *numbers(20, 200)])[1]) == 1


@pytest.mark.parametrize(
    "page",
    [
        [*column(prose(30)), *column(prose(30, "baker"), x=330)],
        [*column(prose(4), y=60), *numbers(12, 112)],
        [*row(100, ["1.5", "2.5", "3.5", "4.5"]), *numbers(1, 115), *row(140, HEADER)],
        [
            each
            for at in range(9)
            for each in row(100 + 10 * at, [f"{at}.", "On mills . . . . . . . .", ". . . . . .", f"{at}"])
        ],
    ],
    ids=["two columns of text", "no header", "too few rows", "contents"],
)
def test_what_is_no_table_has_none(page: list[Print]) -> None:
    """Columns of text, a table of contents, rows without cells above them."""
    assert tables_of(page)[1] == []


def test_a_chunk_that_begins_in_a_table_begins_with_its_header() -> None:
    """And is no longer than others; each row is there, in its order."""
    document = written([[*column(prose(3), y=40), *row(100, HEADER), *numbers(60, 112)], column(prose(40, "baker"))])
    extracted = read(document, "mills.pdf", Options())
    (table,) = extracted.tables
    assert table.header == "Mill Sacks Stones Share"
    assert extracted.pages[0][table.start :].startswith("Windmill 1 107 2 2.5 Windmill 2 114")

    pieces = chunk_pages(extracted.pages, chunk_size=200, chunk_overlap=0, tables=extracted.tables)
    begins = [piece for piece in pieces if piece.header]
    assert len(begins) >= 3
    assert all(piece.with_header.startswith("Mill Sacks Stones Share\n\n") for piece in begins)
    assert all(count_any_tokens(piece.with_header) <= 210 for piece in pieces)
    joined = " ".join(piece.text for piece in pieces)
    places = [joined.index(f"Windmill {number} ") for number in range(1, 61)]
    assert all(one < other for one, other in pairwise(places))
    assert not pieces[0].header
    assert not pieces[-1].header


def test_headers_can_stand_once() -> None:
    """And one that would fill a quarter of a chunk does."""
    document = written([[*row(100, HEADER), *numbers(60, 112)], column(prose(40))])
    assert read(document, "mills.pdf", Options(table_headers="once")).tables == []
    extracted = read(document, "mills.pdf", Options())
    assert not any(
        piece.header for piece in chunk_pages(extracted.pages, chunk_size=20, chunk_overlap=0, tables=extracted.tables)
    )
