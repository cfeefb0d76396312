"""The title of a paper: from the file's metadata and the lines of its first page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, chain

import msgspec

from jobs.parsing.cleaning import clean, letters_and_digits
from jobs.parsing.section_names import LABEL

__all__ = ["Line", "choose_title"]

LONGEST_TITLE = 300
FEWEST_IDEOGRAPHS = 5


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a first page: its text, the size of its letters, its upper and its lower edge, in points."""

    text: str
    size: float
    top: float
    bottom: float


# Stamps, banners and file names: what stands where a title might, and is none.
_BANNER = re.compile(
    r"arxiv:|https?://|www\.|\bdoi\b|@|©|\bissn\b|\bcopyright\b|^(journal|proceedings|transactions|annals) of\b|"
    r"^(published|accepted|received|submitted|under review|preprint|manuscript|downloaded|open access|editors?:)|"
    r"\bvol(ume|\.)? ?\d|^microsoft|^please wait|\.(docx?|tex|dvi|pdf|indd|txt|rtf|odt)$|^page \d|^printed by|^slide \d|"
    # what a title page of a thesis or a programme says beside the title
    r"\b(thesis|dissertation)\b.*\b(submitted|presented)\b|^(submitted|presented) (to|in|for|by)\b|partial fulfil|"
    r"\b(doctor|master|bachelor) of\b|^(the )?university of( \w+){1,3}$|^[\w .,-]{0,50} university$|"
    r"^(department|faculty|school|institute) of\b|(大学|大學|学院|学部|研究科|研究所|学位论文|学位論文)$|^(session|track|panel|poster) \w{1,4}\b|^technical report\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*\d{1,4}\s*")
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # says as much as three letters
_FOOTNOTE_MARKS = " \t\n*∗⁎†‡§¶#⋆,;:¹²³⁴⁵"
_UNFINISHED = re.compile(
    r"[-‐–—:,&]$|\b(a|an|and|as|at|by|for|from|in|into|of|on|or|the|to|under|using|via|with)$", re.IGNORECASE
)
MOST_LINES = 5  # of a title, where nothing but its lines tells where it ends


def choose_title(first_lines: Callable[[], Sequence[Line]], *, metadata: str, first_page: Callable[[], str]) -> str:
    """The title of a paper, cleaned; "" when the file tells none.

    In this order: the title in the file's metadata, if the first page says it too and does not go on; the largest
    print on the first page that reads like a title; the metadata's title; the first lines that read like one.
    """
    named = _tidy(metadata)
    lines = [line for line in first_lines() if not _NUMBER.fullmatch(line.text)]
    runs = _runs(lines)
    largest = next(filter(_like_title, map(_tidy_lines, _largest_first(runs))), "")
    if _like_title(named) and letters_and_digits(named) in letters_and_digits(first_page()):
        return largest if _goes_on(named, largest) else named
    wide = _runs(lines, gap=1.6, sizes=0.3)
    short = filter(_like_short_title, map(_tidy_lines, _largest_first(wide)))
    opening = filter(_like_title, map(_tidy_lines, _in_order(runs, wide, _sentences(lines))))
    return next(chain(filter(_like_title, [largest, named]), short, opening), "")


def _goes_on(named: str, printed: str) -> bool:
    """Whether `named` is but the first line or so of what is printed."""
    is_start = letters_and_digits(printed).startswith(letters_and_digits(named))
    return is_start and len(named.split()) + 2 <= len(printed.split()) <= 3 * len(named.split())


def _tidy(title: str) -> str:
    return " ".join(clean(title).split()).strip(_FOOTNOTE_MARKS)


def _tidy_lines(lines: Sequence[Line]) -> str:
    """Their text without the labels above it."""
    texts = [line.text for line in lines]
    while len(texts) > 1 and _is_label(texts[0]):
        del texts[0]
    return _tidy("\n".join(texts))


def _is_label(text: str) -> bool:
    return bool(LABEL.fullmatch(letters_and_digits(text)))


def _like_title(title: str) -> bool:
    letters = sum(character.isalpha() for character in title)
    return (
        len(title) <= LONGEST_TITLE
        and (letters >= 15 or (letters >= 8 and " " in title))
        and letters >= 0.6 * len(title.replace(" ", ""))
        and not _BANNER.search(title)
        and not _is_label(title)
    )


def _like_short_title(title: str) -> bool:
    """Whether it may be one in a script without letters, whose signs say as much as three letters each."""
    is_long = len(title) <= LONGEST_TITLE and len(_IDEOGRAPH.findall(title)) >= FEWEST_IDEOGRAPHS
    return is_long and not _BANNER.search(title) and not _is_label(title)


def _runs(lines: Sequence[Line], *, gap: float = 1, sizes: float = 0.6) -> list[list[Line]]:
    """Lines that stand close under each other, less than `gap` times their size apart, in sizes that differ by less

    than `sizes`."""
    runs: list[list[Line]] = []
    for line in lines:
        last = runs[-1][-1] if runs else None
        if last and abs(last.size - line.size) < sizes and -line.size < line.top - last.bottom < gap * line.size:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def _largest_first(runs: Sequence[list[Line]]) -> list[list[Line]]:
    """Those of larger print than most of the page, the largest first; a run of body text is no title.

    One that ends in a colon goes on in the next, in smaller print.
    """
    letters: dict[float, int] = {}
    for line in (line for run in runs for line in run):
        letters[round(line.size)] = letters.get(round(line.size), 0) + len(line.text)
    body = max(letters, key=lambda size: letters[size], default=0)
    larger = [
        run + after if run[-1].text.rstrip().endswith(":") and after and after[0].size > body + 0.6 else run
        for run, after in zip(runs, [*runs[1:], []], strict=False)
        if run[0].size > body + 0.6
    ]
    return sorted(larger, key=lambda run: -run[0].size)


def _sentences(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines as their words alone say where they go on: after a word that ends no title, or before a small letter."""
    parts: list[list[Line]] = []
    for line in lines:
        last = parts[-1][-1].text.rstrip() if parts else ""
        if last and len(parts[-1]) < MOST_LINES and (_UNFINISHED.search(last) or line.text[:1].islower()):
            parts[-1].append(line)
        else:
            parts.append([line])
    return parts


def _in_order(*ways: Sequence[list[Line]]) -> list[list[Line]]:
    """All ways to put the lines together, by where they begin, the earlier way first."""
    placed = [(start, part) for way in ways for start, part in zip(_starts(way), way, strict=True)]
    return [part for _, part in sorted(placed, key=lambda each: each[0])]


def _starts(parts: Sequence[list[Line]]) -> list[int]:
    return list(accumulate(map(len, parts[:-1]), initial=0)) if parts else []
