from __future__ import annotations

import io

from rich.console import Console

from jobs.report.console_columns import print_columns

HEADS = ["in flight", "answers/s", "errors"]
LINES = [["1", "1,234,567.8", ""], ["16", "2.5", "3 timeout"]]


def printed(*, width: int, terminal: bool, numbers: bool) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    print_columns(HEADS, LINES, console, numbers=numbers)
    return out.getvalue().splitlines()


def test_plain_columns_can_be_cut() -> None:
    """Where no terminal is, lines hold the columns alone, flush right where they are numbers, however narrow it is."""
    assert printed(width=10, terminal=False, numbers=True) == [
        "in flight    answers/s  errors",
        "        1  1,234,567.8",
        "       16          2.5  3 timeout",
    ]
    assert printed(width=80, terminal=False, numbers=False)[1] == "1          1,234,567.8"


def test_a_terminal_shows_a_table() -> None:
    """On a terminal heads may take several lines, and numbers stand whole."""
    assert [line.rstrip() for line in printed(width=30, terminal=True, numbers=True)] == [
        "    in",
        "flight    answers/s  errors",
        "     1  1,234,567.8",
        "    16          2.5  3 timeout",
    ]


def test_a_narrow_terminal_cuts_no_number() -> None:
    """Where the table does not fit, the numbers stand as text and none is shortened."""
    assert printed(width=29, terminal=True, numbers=True)[1] == "        1  1,234,567.8"
