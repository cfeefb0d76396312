"""Where the sections of a paper start: by the outline of the file, by numbers, and by the print of headings.

A heading is a line or a few in a print that is not the body's, with the body's text below. A print counts as one of
headings where something vouches for it: the outline, a number, a name that sections bear ("Methods"), or that nearly
all of its lines are short and stand above body text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import msgspec

from jobs.parsing.cleaning import letters_and_digits
from jobs.parsing.heading_candidates import Body, Candidate, OutlineEntry, Style, body_of, candidates, in_outline
from jobs.parsing.layout import Layout
from jobs.parsing.section_names import back_matter

__all__ = ["Found", "find_headings"]


OFTEN = 4
FIRST_PAGES = 2  # on which authors stand, one of them may be a cover
_RELATION = re.compile("[=∈≤≥≈∥∑∫]")
_WORD = re.compile(r"[^\W\d_]{4}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SYMBOL = re.compile(r"[Α-Ωα-ω−]|(?:^|\s)[^\W\d_](?:\s|$)")
_NAME_WORD = r"[^\W\d_a-zß-öø-ÿ](?:[^\W\d_]|[.’'´`-])*"
_NAME = rf"{_NAME_WORD}(?: (?:(?:de|del|della|der|den|da|dos|di|du|la|le|van|von|zu|ten|ter|el|al|bin) )*{_NAME_WORD})+"
_AUTHOR_MARK = "(?:[0-9]{1,2}(?![0-9])|[*∗†‡§¶#]){1,4}"
_AUTHOR = re.compile(rf"(?:{_NAME} ?)?{_AUTHOR_MARK}")
_BETWEEN_AUTHORS = re.compile(r" ?[,;] ?(?:(?:and|und|et|y|e|&) )?| (?:and|und|et|y|e|&) ")
_MATHEMATICS = re.compile(
    r"(?:^|\+)(?:CM(?:MI|SY|EX|BSY|MIB)|MSAM|MSBM|EUFM|RSFS|MTMI|MTSY|LMMath|.*Math)", re.IGNORECASE
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A heading: the numbers of its lines, its text, and its level, 1 for the outermost.

    ``runs_in`` says that the section's text goes on in its last line; ``title`` is the heading's part of it then.
    ``certain`` says that it is one even among references: it is in the outline, names back matter, or is bold or larger
    than the body.
    """

    lines: tuple[int, ...]
    title: str
    level: int
    runs_in: bool = False
    certain: bool = False


def find_headings(layout: Layout, outline: Sequence[OutlineEntry], skip: Collection[int], title: str) -> list[Found]:
    """The headings among the lines that are not in `skip`, in reading order. `title` is the paper's, which is none."""
    body = body_of(layout)
    found = {each.lines[0]: each for each in candidates(layout, body, skip)}
    found |= {each.lines[0]: each for each in in_outline(layout, outline, skip, body, found)}
    possible = [found[first] for first in sorted(found) if not _is_formula(layout, found[first])]
    possible = _without_labels(layout, possible)
    sound = _sound_numbers(possible)
    kept = _without_front(layout, _vouched_for(body, possible, sound, len(layout.lines) // 2), title)
    levels = _levels(kept)
    return [
        Found(lines=each.lines, title=each.text, level=level, runs_in=each.runs_in, certain=_is_certain(each))
        for each, level in zip(kept, levels, strict=True)
    ]


def _is_formula(layout: Layout, each: Candidate) -> bool:
    """Whether it is mathematics, or a line of text that only looks like a heading, as it begins with a symbol."""
    if _is_known(each):
        return False
    if _MATHEMATICS.search(layout.lines[each.lines[0]].font.name) or _RELATION.search(each.text):
        return True
    return not _WORD.search(each.text) and bool(_SYMBOL.search(each.text))


def _without_labels(layout: Layout, possible: Sequence[Candidate]) -> list[Candidate]:
    """Without what stands before a colon again and again: "Question: …" is the label of an example, and no heading.

    The parts of a thesis may begin alike, too, but many pages apart.
    """
    pages: dict[str, list[int]] = defaultdict(list)
    for each in possible:
        pages[_label(each)].append(layout.page_of[each.lines[0]])
    labels = {label for label, on in pages.items() if label and len(on) >= OFTEN and on[-1] - on[0] < 2 * len(on)}
    return [each for each in possible if _is_known(each) or _label(each) not in labels]


def _label(each: Candidate) -> str:
    label, colon, _ = each.text.partition(":")
    return label.casefold() if colon else ""


def _is_known(each: Candidate) -> bool:
    """Whether a number, a name or the outline says that it is a heading."""
    return bool(each.number or each.named or each.outline)


def _is_certain(each: Candidate) -> bool:
    return bool(each.outline or back_matter(each.text)) or (each.strong and each.above_text and not each.runs_in)


def _sound_numbers(possible: Sequence[Candidate]) -> set[int]:
    """The first lines of candidates whose number follows that of another, or is the first of its kind."""
    sound: set[int] = set()
    seen: set[tuple[str, ...]] = set()
    for each in possible:
        number = each.number
        if not number:
            continue
        before = _before(number)
        if (
            before in seen
            or (len(number) == 1 and number[0] in ("1", "I", "A"))
            or (number[-1] == "1" and number[:-1] in seen)
        ):
            sound.add(each.lines[0])
            seen.add(number)
    return sound


_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


def _before(number: tuple[str, ...]) -> tuple[str, ...]:
    *head, last = number
    if last.isdigit():
        return (*head, str(int(last) - 1))
    if last in _ROMAN[1:]:
        return (*head, _ROMAN[_ROMAN.index(last) - 1])
    return (*head, chr(ord(last[0]) - 1))


def _vouched_for(body: Body, possible: Sequence[Candidate], sound: set[int], half: int) -> list[Candidate]:
    groups: dict[tuple[str, int], list[Candidate]] = defaultdict(list)
    for each in possible:
        groups[each.style[:2]].append(each)
    trusted = {style for style, own in groups.items() if _is_trusted(own, body.letters[style], sound)}
    kept = [each for each in possible if _is_heading(each, trusted, sound, half)]
    # Where headings have a print of their own, a number in the body's print is that of an item in a list.
    if sum(not each.plain for each in kept) < 3:
        return kept
    return [each for each in kept if not each.plain or each.named or each.runs_in or not each.number]


def _is_trusted(own: Sequence[Candidate], letters: int, sound: set[int]) -> bool:
    """Whether a print is one of headings."""
    standing = [each for each in own if not each.runs_in and not each.plain]
    if not standing:
        return False
    share = sum(len(each.text) for each in standing) / max(1, letters)
    above = sum(each.above_text for each in standing) / len(standing)
    vouched = any(each.outline or each.named or (each.lines[0] in sound and not each.small) for each in standing)
    enough = 0.1 if any(each.strong for each in standing) else 0.3
    return (vouched and share >= enough and above >= 0.3) or (len(standing) > 1 and share >= 0.7 and above >= 0.7)


def _is_heading(each: Candidate, trusted: set[tuple[str, int]], sound: set[int], half: int) -> bool:
    """Whether a candidate is a heading; `half` is the line in the middle of the paper.

    Before it, duties in small print or before their text are a note on a page's foot or margin: the text goes on below.
    """
    if each.outline:
        return True
    if each.lines[0] < half and (each.small or each.runs_in) and back_matter(each.text):
        return False
    if each.runs_in:
        return each.named or (each.lines[0] in sound)
    if each.named and (not each.small or back_matter(each.text) or (each.above_text and each.style[:2] in trusted)):
        return True
    if each.number and each.lines[0] in sound and each.above_text and not each.small:
        return not each.plain or len(each.text) < 80
    return not each.plain and each.style[:2] in trusted and (each.above_text or not each.number)


def _without_front(layout: Layout, kept: list[Candidate], title: str) -> list[Candidate]:
    """Without the title, and what stands before the first certain heading on the first page: authors, a journal.

    Before one on a later page it is only authors that are known: by the marks that lead from them to their addresses.
    """
    name = letters_and_digits(title)
    kept = [each for each in kept if len(form := letters_and_digits(each.text)) < 8 or form not in name]
    certain = (at for at, each in enumerate(kept) if each.named or each.outline or (each.number and not each.plain))
    start = next(certain, len(kept))
    if start < len(kept) and layout.page_of[kept[start].lines[0]] == 0:
        return kept[start:]
    return [*(each for each in kept[:start] if not _names_authors(layout, each)), *kept[start:]]


def _names_authors(layout: Layout, each: Candidate) -> bool:
    """Whether it is a list of names with marks on the first pages; one name and one mark may be a "Clinical Trial 2"."""
    parts = list(filter(None, _BETWEEN_AUTHORS.split(each.text)))
    is_early = layout.page_of[each.lines[0]] < FIRST_PAGES
    return is_early and len(parts) > 1 and all(map(_AUTHOR.fullmatch, parts))


# --- their levels


def _levels(kept: Sequence[Candidate]) -> list[int]:
    """By number where there is one, else by the outline, else as others of the same print, else by the print's size."""
    shift = min((each.outline for each in kept if each.outline), default=1) - 1
    known = [_own_level(each, shift) for each in kept]
    by_style: dict[Style, Counter[int]] = defaultdict(Counter)
    for each, level in zip(kept, known, strict=True):
        if level:
            by_style[each.style][level] += 1
    ranked = (each for each in kept if not each.runs_in and not back_matter(each.text))  # thanks may be in larger print
    styles = sorted({each.style for each in ranked}, key=lambda style: (-style[1], not style[2]))
    ranks = {style: rank for rank, style in enumerate(styles, 1)}
    levels = []
    for each, level in zip(kept, known, strict=True):
        if not level and by_style[each.style]:
            level = by_style[each.style].most_common(1)[0][0]
        if not level:
            level = 1 if each.named else min(ranks.get(each.style, 3), 3)
        levels.append(level)
    return levels


def _own_level(each: Candidate, shift: int) -> int:
    if each.outline:
        return each.outline - shift
    if each.number:
        return len(each.number)
    return 1 if back_matter(each.text) or each.text.casefold() == "abstract" else 0
