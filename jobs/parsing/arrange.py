"""From the layout of a paper to the texts to clean: what is left out, moved and rewritten.

Every line of a paper stands in one segment or is left out as one kind; nothing else is lost.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby, pairwise

import msgspec

from jobs.parsing.axes import find_axes
from jobs.parsing.drop_caps import with_drop_caps
from jobs.parsing.extracted import LeftOut
from jobs.parsing.floats import in_sentence_order
from jobs.parsing.furniture import find_furniture
from jobs.parsing.layout import Layout, Segment, printed_text, segments
from jobs.parsing.parsers import AXES, FURNITURE, REFERENCES, Options
from jobs.parsing.references import find_references
from jobs.parsing.scripts import with_raised
from jobs.parsing.tables import find_tables

__all__ = ["Arranged", "arrange", "kinds_of", "what_is_left_out"]

_BROKEN = re.compile(r"[^\W\d_][-\u2010\u00ad]\s*$")
_REST = re.compile(r"\s*([^\W\d_A-Z]\S*)\s?")


def kinds_of(layout: Layout) -> dict[int, str]:
    """The kind of each line, by number, that is "furniture", "references" or "axes"; all others are the paper's text."""
    furniture = find_furniture(layout)
    lists = find_references(layout, furniture)
    kinds = {number: REFERENCES for each in lists for number in each} | dict.fromkeys(furniture, FURNITURE)
    axes = find_axes(layout, (number for number in range(len(layout.lines)) if number not in kinds))
    return kinds | dict.fromkeys(axes, AXES)


class Arranged(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of a paper in the order in which they are to be read, and the printed header of each table in them."""

    segments: list[Segment]
    table_headers: list[str]


def arrange(layout: Layout, kinds: Mapping[int, str], options: Options, starts: Collection[int] = ()) -> Arranged:
    """The texts of what `options` keep; one starts at each line in `starts`."""
    kept = [number for number in range(len(layout.lines)) if options.keeps(kinds.get(number, ""))]
    tables = find_tables(layout, kept) if options.table_headers == "repeat" else []
    table_of = {number: index for index, table in enumerate(tables) for number in table.rows}
    parts: dict[int, str] = {}
    for number in sorted(kinds):
        if kinds[number] == REFERENCES or number - 1 in parts:  # furniture inside of a list goes with it
            parts[number] = REFERENCES
    texts = dict(with_raised(layout, options.citations))
    caps = {cap: (first, text) for cap, first, text in with_drop_caps(layout, kept, texts)}
    texts |= caps.values()
    order = [number for number in in_sentence_order(layout, kept) if number not in caps]
    found = segments(layout, order, texts=texts, parts=parts, tables=table_of, starts=starts)
    return Arranged(
        segments=_with_whole_words(list(found)),
        table_headers=[printed_text(layout, table.header, texts) for table in tables],
    )


def what_is_left_out(layout: Layout, kinds: Mapping[int, str], options: Options) -> Iterator[LeftOut]:
    """The text of all lines that `options` do not keep, by page and kind, in reading order."""
    left = sorted(number for number, kind in kinds.items() if not options.keeps(kind))
    for (page, kind), own in groupby(left, lambda number: (layout.page_of[number], kinds[number])):
        if text := printed_text(layout, own).strip():
            yield LeftOut(kind=kind, page=page, text=text)


def _with_whole_words(found: Sequence[Segment]) -> list[Segment]:
    """Where a page ends inside a word, the word's rest stands on that page."""
    whole = list(found)
    for index, (before, after) in enumerate(pairwise(found)):
        rest = _REST.match(after.text)
        if rest and before.page != after.page and before.part == after.part and _BROKEN.search(before.text):
            whole[index] = msgspec.structs.replace(whole[index], text=f"{whole[index].text}{rest[1]}\n")
            whole[index + 1] = msgspec.structs.replace(after, text=after.text[rest.end() :])
    return whole
