from __future__ import annotations

import pytest

from jobs.parsing.title import Line, choose_title


def line(text: str, size: float, top: float) -> Line:
    return Line(text=text, size=size, top=top, bottom=top + size)


BODY = [line(f"Body text that goes on and on, line {number}.", 10, 300 + 12 * number) for number in range(30)]
TITLE = [line("A Study of Mills and of", 17, 100), line("What They Grind∗", 17, 120)]
PAGE = "A Study of Mills and of What They Grind"


def title(lines: list[Line], metadata: str = "", first_page: str = PAGE) -> str:
    return choose_title(lambda: lines, metadata=metadata, first_page=lambda: first_page)


def test_the_largest_print_is_the_title() -> None:
    """Lines of one size close together are one title; authors in smaller print are not part of it."""
    lines = [line("Journal of Mills 21 (2020)", 8, 40), *TITLE, line("Ada Author and Bob Writer", 12, 150), *BODY]
    assert title(lines) == PAGE


def test_a_title_in_the_size_of_what_follows_ends_at_the_gap() -> None:
    """Authors in the title's size stand apart by more than a line."""
    lines = [line("THE TITLE IN PLAIN CAPITALS", 12, 97), line("Ada Author, Member", 12, 139), *BODY]
    assert title(lines) == "THE TITLE IN PLAIN CAPITALS"


def test_metadata_that_the_page_confirms_wins() -> None:
    """It has the better case; metadata that the page does not show is only a fallback, and so is half a title."""
    assert title([*TITLE, *BODY], metadata=PAGE.lower()) == PAGE.lower()
    assert title([*TITLE, *BODY], metadata="a study of mills") == PAGE
    assert title([*TITLE, *BODY], metadata="Some Other Working Title") == PAGE
    assert title(BODY[:0], metadata="Some Other Working Title") == "Some Other Working Title"


@pytest.mark.parametrize(
    "stamp",
    ["arXiv:2506.04071v1 [cs.LG] 4 Jun 2025", "Journal of Machine Learning Research", "RESEARCH ARTICLE", "Abstract",
     "www.nature.com/articles", "Microsoft Word - paper.doc", "untitled", "1234 5678 91011", "x", "word " * 100,
     "Doctoral Thesis", "A thesis submitted for the degree of Doctor of Philosophy", "University of Upper Mill",
     "Department of Milling and Grain", "Upper Mill State University", "Session 8: Grain and Flour", "ORIGINAL ARTICLE"],
)  # fmt: skip
def test_stamps_and_banners_are_no_titles(stamp: str) -> None:
    """However large they are printed, or whatever the metadata say."""
    assert title([line(stamp, 30, 20), *TITLE, *BODY], metadata=stamp) == PAGE


def test_without_large_print_the_first_line_serves() -> None:
    """The first one that reads like a title; nothing when there is none."""
    lines = [line("42", 10, 10), line("http://example.org", 10, 22), line("The first line of a plain text", 10, 34)]
    assert title(lines) == "The first line of a plain text"
    assert title(lines[:2]) == ""


def test_labels_and_line_numbers_are_no_part_of_a_title() -> None:
    """A label in the title's own print goes, and so do the numbers of lines between its lines."""
    labelled = [line("Research Article", 17, 80), *TITLE, *BODY]
    assert title(labelled) == PAGE
    numbered = [TITLE[0], line("1", 8, 102), TITLE[1], line("2", 8, 122), *BODY]
    assert title(numbered) == PAGE


def test_a_subtitle_behind_a_colon_belongs_to_the_title() -> None:
    """Even where it is printed smaller, if still larger than the text."""
    lines = [line("Mills and Grain:", 17, 100), line("A Study of What They Grind", 14, 119), *BODY]
    assert title(lines) == "Mills and Grain: A Study of What They Grind"
    assert title([lines[0], *BODY]) == "Mills and Grain"


def test_a_title_in_the_print_of_the_text_goes_on_where_its_words_do() -> None:
    """After a word that ends no title, and before a small letter; a session's name is passed over with its second line."""
    texts = ["Session 8 Mills for", "Grain and Flour", "A Universal Modular Mill", "for Artificial Grain", "Ada Author"]
    lines = [line(text, 10, 12 * number) for number, text in enumerate([*texts, *["Text of the paper." * 3] * 30])]
    assert title(lines) == "A Universal Modular Mill for Artificial Grain"


def test_a_title_page_of_one_size_has_its_title_first() -> None:
    """Lines that are set wide belong together while their size is the same to a third of a point."""
    texts = [
        ("石臼を用いた", 16.6),
        ("穀物の粉砕に関する実証実験", 16.6),
        ("Grinding Grain with Stones", 17.2),
        ("粉 碾", 16.6),
    ]
    lines = [line(text, size, 300 + 37 * number) for number, (text, size) in enumerate(texts)]
    assert title(lines) == "石臼を用いた 穀物の粉砕に関する実証実験"


def test_a_short_title_without_letters() -> None:
    """Eight signs of Chinese say as much as a line; the name of a university and a label are none."""
    lines = [line("某某大学", 24, 60), line("硕士学位论文", 24, 120), line("水磨坊的历史研究", 20, 200)]
    assert title([*lines, *[line("磨", 10, 300 + 12 * number) for number in range(30)]]) == "水磨坊的历史研究"
