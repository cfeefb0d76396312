"""The title of a paper: from the file's metadata and the lines of its first page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec

from jobs.parsing.cleaning import clean, letters_and_digits

__all__ = ["Line", "choose_title"]

LONGEST_TITLE = 300


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a first page: its text, the size of its letters, its upper and its lower edge, in points."""

    text: str
    size: float
    top: float
    bottom: float


_HEADING = re.compile(
    "abstract|acknowledgements|appendix|article|contents|casereport|communication|conclusion|editorial|introduction|"
    "letter|originalarticle|originalpaper|originalresearch|paper|preface|references|report|researcharticle|"
    "researchpaper|review|reviewarticle|shortcommunication|summary|tableofcontents|technicalreport|untitled|"
    "untitleddocument"
)
# Stamps, banners and file names: what stands where a title might, and is none.
_BANNER = re.compile(
    r"arxiv:|https?://|www\.|\bdoi\b|@|©|\bissn\b|\bcopyright\b|^(journal|proceedings|transactions|annals) of\b|"
    r"^(published|accepted|received|submitted|under review|preprint|manuscript|downloaded|open access|editors?:)|"
    r"\bvol(ume|\.)? ?\d|^microsoft|^please wait|\.(docx?|tex|dvi|pdf|indd|txt|rtf|odt)$|^page \d|^printed by|^slide \d",
    re.IGNORECASE,
)
_FOOTNOTE_MARKS = " \t\n*∗⁎†‡§¶#⋆,;:¹²³⁴⁵"


def choose_title(first_lines: Callable[[], Sequence[Line]], *, metadata: str, first_page: str) -> str:
    """The title of a paper, cleaned; "" when the file tells none.

    In this order: the title in the file's metadata, if the first page says it too; the largest print on the first
    page that reads like a title; the metadata's title; the first line that reads like one. The lines of the page are
    asked for only where the first does not serve.
    """
    named = _tidy(metadata)
    if _like_title(named) and letters_and_digits(named) in letters_and_digits(first_page):
        return named
    lines = first_lines()
    runs = (_tidy("\n".join(line.text for line in run)) for run in _largest_first(_runs(lines)))
    opening = (_tidy(line.text) for line in lines)
    return next((title for title in chain(runs, [named], opening) if _like_title(title)), "")


def _tidy(title: str) -> str:
    return " ".join(clean(title).split()).strip(_FOOTNOTE_MARKS)


def _like_title(title: str) -> bool:
    letters = sum(character.isalpha() for character in title)
    return (
        len(title) <= LONGEST_TITLE
        and (letters >= 15 or (letters >= 8 and " " in title))
        and letters >= 0.6 * len(title.replace(" ", ""))
        and not _BANNER.search(title)
        and not _HEADING.fullmatch(letters_and_digits(title))
    )


def _runs(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of one size that stand close under each other."""
    runs: list[list[Line]] = []
    for line in lines:
        last = runs[-1][-1] if runs else None
        if last and abs(last.size - line.size) < 0.6 and -line.size < line.top - last.bottom < line.size:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def _largest_first(runs: Sequence[Sequence[Line]]) -> list[Sequence[Line]]:
    """Those of larger print than most of the page, the largest first; a run of body text is no title."""
    letters: dict[float, int] = {}
    for line in (line for run in runs for line in run):
        letters[round(line.size)] = letters.get(round(line.size), 0) + len(line.text)
    body = max(letters, key=lambda size: letters[size], default=0)
    return sorted((run for run in runs if run[0].size > body + 0.6), key=lambda run: -run[0].size)
