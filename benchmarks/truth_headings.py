"""Does parsing find the headings of papers? Recall and precision against the JATS sources that stand beside them.

The truth of a paper is the titles of its source's sections, of its acknowledgements and of its references, as far as the
PDF prints them; a paper whose source has none is left out. A heading counts as found where its letters are those of a
title, without a number. One that the source has no title for, but most papers print ("Abstract"), counts for nothing.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tables import Row, show, write

from jobs.parsing import pdf
from jobs.parsing.cleaning import clean, letters_and_digits

TARGET = 0.9
SECTIONS = ("sec", "ack", "ref-list", "app", "app-group", "glossary", "notes", "abstract", "fn-group", "body", "back")
UNTITLED = frozenset(["abstract", "keywords", "references", "acknowledgments", "acknowledgements", "highlights"])
_NUMBER = re.compile(r"^\s*(?:\d{1,2}(?:\.\d{1,2})*|[A-H](?:\.\d{1,2})*|[IVX]{1,5})[.:)]?\s+")


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """One paper: titles in the truth, those found, and headings that are none."""

    paper: str
    titles: int
    found: int
    wrong: int


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("papers", type=Path, help="the folder of the PDFs")
    parser.add_argument("truth", type=Path, help="the folder of the sources, named as the PDFs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    scored = [each for source in sorted(given.truth.glob("*.xml")) if (each := score(given.papers, source)).titles]
    titles, found, wrong = (sum(getattr(each, name) for each in scored) for name in ("titles", "found", "wrong"))
    recall, precision = found / titles, found / (found + wrong)
    rows = [
        Row(measure="headings: recall", value=f"{recall:.3f}", target=f"≥ {TARGET:g}", met=recall >= TARGET),
        Row(measure="headings: precision", value=f"{precision:.3f}", target=f"≥ {TARGET:g}", met=precision >= TARGET),
    ]
    show(
        f"{len(scored)} papers, {titles} titles",
        ["paper", "titles", "found", "wrong"],
        [[each.paper, str(each.titles), str(each.found), str(each.wrong)] for each in scored]
        + [[row.measure, row.value, "", row.target or ""] for row in rows],
    )
    write(given.json, {"rows": rows, "papers": scored})


def score(papers: Path, source: Path) -> Scored:
    extracted = pdf.extract(str(papers / f"{source.stem}.pdf"))
    printed = letters_and_digits("".join([*extracted.pages, *(each.text for each in extracted.omitted)]))
    titles = (_form(title) for title in _titles(ET.parse(source).getroot()))
    wanted = Counter(form for form in titles if form and form in printed)
    # A list of references is left out with its heading, once it was found.
    dropped = Counter(_form(each.text.splitlines()[0]) for each in extracted.omitted if each.kind == "references")
    found = Counter(_form(heading.title) for heading in extracted.headings) + (dropped & wanted)
    wrong = sum(count for form, count in found.items() if form not in wanted and form not in UNTITLED)
    return Scored(
        paper=source.stem, titles=wanted.total(), found=(wanted & found).total(), wrong=wrong if wanted else 0
    )


def _titles(element: ET.Element) -> Iterator[str]:
    for child in element:
        tag = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        if tag in SECTIONS:
            title = next((each for each in child if str(each.tag).rpartition("}")[2] == "title"), None)
            if title is not None:
                yield "".join(title.itertext())
        if tag in (*SECTIONS, "front", "article-meta"):
            yield from _titles(child)


def _form(title: str) -> str:
    return letters_and_digits(_NUMBER.sub("", clean(title)))


if __name__ == "__main__":
    main()
