"""The sections of a text: the path of headings above each place, where to cut between them, what a piece belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import takewhile

import msgspec

from jobs.parsing.extracted import Heading
from jobs.parsing.section_names import back_matter

__all__ = ["Section", "path_of", "sections", "spans"]

DEEPEST = 6


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """What follows one heading, up to the next: where it starts in the text, and the headings above it, its own last."""

    start: int
    path: list[str]


def sections(headings: Iterable[Heading], page_starts: Sequence[int]) -> list[Section]:
    """The sections of a text whose pages start at `page_starts`; none for what stands before the first heading."""
    found: list[Section] = []
    above: list[Heading] = []
    for heading in headings:
        above = [each for each in above if _is_above(each, heading)][: DEEPEST - 1]
        above.append(heading)
        found.append(Section(start=page_starts[heading.page] + heading.start, path=[each.title for each in above]))
    return found


def _is_above(heading: Heading, below: Heading) -> bool:
    """Whether the second belongs into the first's section; a numbered one never belongs into thanks and declarations."""
    return heading.level < below.level and not (below.title[:1].isdecimal() and back_matter(heading.title))


def spans(length: int, parts: Sequence[Section], borders: Sequence[int], least: int) -> list[tuple[int, int]]:
    """The text in spans that no chunk reaches out of: start and end of each.

    One ends at each border, and at the end of a section where neither it nor what remains up to the next border is
    shorter than `least` characters.
    """
    found = []
    start = 0
    for border in [*sorted({border for border in borders if 0 < border < length}), length]:
        for part in parts:
            if start + least <= part.start <= border - least:
                found.append((start, part.start))
                start = part.start
        found.append((start, border))
        start = border
    return found


def path_of(parts: Sequence[Section], start: int, end: int) -> list[str]:
    """The path of the section that has more than half of a piece, else what the paths of its sections have in common."""
    first = bisect_right(parts, start, key=lambda part: part.start)
    inside = [part for part in parts[first:] if part.start < end]
    edges = [start, *(part.start for part in inside), end]
    paths = [parts[first - 1].path if first else [], *(part.path for part in inside)]
    for path, left, right in zip(paths, edges[:-1], edges[1:], strict=True):
        if right - left > (end - start) / 2:
            return path
    alike = takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
    return [titles[0] for titles in alike]
