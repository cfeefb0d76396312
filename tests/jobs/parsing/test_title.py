from __future__ import annotations

import pytest

from jobs.parsing.title import Line, choose_title


def line(text: str, size: float, top: float) -> Line:
    return Line(text=text, size=size, top=top, bottom=top + size)


BODY = [line(f"Body text that goes on and on, line {number}.", 10, 300 + 12 * number) for number in range(30)]
TITLE = [line("A Study of Mills and of", 17, 100), line("What They Grind∗", 17, 120)]
PAGE = "A Study of Mills and of What They Grind"


def title(lines: list[Line], metadata: str = "", first_page: str = PAGE) -> str:
    return choose_title(lambda: lines, metadata=metadata, first_page=first_page)


def test_the_largest_print_is_the_title() -> None:
    """Lines of one size close together are one title; authors in smaller print are not part of it."""
    lines = [line("Journal of Mills 21 (2020)", 8, 40), *TITLE, line("Ada Author and Bob Writer", 12, 150), *BODY]
    assert title(lines) == PAGE


def test_a_title_in_the_size_of_what_follows_ends_at_the_gap() -> None:
    """Authors in the title's size stand apart by more than a line."""
    lines = [line("THE TITLE IN PLAIN CAPITALS", 12, 97), line("Ada Author, Member", 12, 139), *BODY]
    assert title(lines) == "THE TITLE IN PLAIN CAPITALS"


def test_metadata_that_the_page_confirms_wins() -> None:
    """It has the better case; metadata that the page does not show is only a fallback."""
    assert title([*TITLE, *BODY], metadata="a study of mills") == "a study of mills"
    assert title([*TITLE, *BODY], metadata="Some Other Working Title") == PAGE
    assert title(BODY[:0], metadata="Some Other Working Title") == "Some Other Working Title"


@pytest.mark.parametrize(
    "stamp",
    ["arXiv:2506.04071v1 [cs.LG] 4 Jun 2025", "Journal of Machine Learning Research", "RESEARCH ARTICLE", "Abstract",
     "www.nature.com/articles", "Microsoft Word - paper.doc", "untitled", "1234 5678 91011", "x", "word " * 100],
)  # fmt: skip
def test_stamps_and_banners_are_no_titles(stamp: str) -> None:
    """However large they are printed, or whatever the metadata say."""
    assert title([line(stamp, 30, 20), *TITLE, *BODY], metadata=stamp) == PAGE


def test_without_large_print_the_first_line_serves() -> None:
    """The first one that reads like a title; nothing when there is none."""
    lines = [line("42", 10, 10), line("http://example.org", 10, 22), line("The first line of a plain text", 10, 34)]
    assert title(lines) == "The first line of a plain text"
    assert title(lines[:2]) == ""
