"""The parser "html": the main part of a web page, without what is around it."""

from __future__ import annotations

import re
from typing import Any

from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.blocks import Block, Builder, assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.formats.tree import local_name, parse_html, superscript, walk
from jobs.parsing.parsers import Options

__all__ = ["blocks", "read"]

_LEFT_OUT = frozenset(
    "aside audio button canvas dialog embed footer form head iframe img input map nav noscript object picture script "
    "select style svg template textarea video".split()
)
_IN_LINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp small span "
    "strike strong sub sup time tt u var wbr".split()
)
_CELLS = ("td", "th")
_ROLES = frozenset("banner complementary contentinfo menu navigation search".split())
_REFERENCES = re.compile(r"\b(?:ltx_bibliography|ref-list|references-list|c-article-references)\b")
_BACK = frozenset("↑↩↵^")
_TITLES = ("citation_title", "dc.title", "og:title")


def read(data: bytes, path: str, options: Options) -> Extracted:
    """Headings, paragraphs, items and rows of ``main``, else of the one ``article``, else of the body.

    Formulas are their TeX where the page has it. Scripts, navigation, forms, footers and pictures are left out.
    """
    root = parse_html(decode(data))
    return assemble(blocks(_main(root)), options, title=_title(root))


def blocks(root: Any) -> list[Block]:
    """The blocks of the elements below `root`."""
    reader = _Reader(root)
    walk(root, start=reader.start, end=reader.end, text=reader.builder.add)
    reader.builder.end()
    return reader.builder.blocks


class _Reader:
    """Turns the elements of a page into blocks."""

    def __init__(self, root: Any) -> None:
        self.builder = Builder()
        self._root = root
        self._references: Any = None  # the element that holds them, while it is open
        self._cells = 0  # of tables that are open

    def start(self, element: Any, name: str) -> bool:
        if _is_left_out(element, name):
            return False
        if name == "math":
            self.builder.add(_formula(element))
            return False
        if name == "sup":
            raised = "".join(element.itertext())
            linked = next(element.iter("a"), None) is not None or local_name(element.getparent()) == "a"
            self.builder.add(superscript(self.builder.last, raised, linked=linked))
            return False
        if self._references is None and _are_references(element):
            self._flush()
            self._references = element
        if name == "br":
            self.builder.add(" ")
        elif name not in _IN_LINE and name not in _CELLS:
            self._flush()
        self._cells += name in _CELLS
        return True

    def end(self, element: Any, name: str) -> None:
        if name in _CELLS:
            self._cells -= 1
            self.builder.add(" | ")
        elif re.fullmatch(r"h[1-6]", name):
            self._flush(level=int(name[1]))
        elif name not in _IN_LINE and name != "br":
            self._flush()
        if element is self._references:
            self._references = None

    def _flush(self, level: int = 0) -> None:
        if self._cells and not level:
            self.builder.add(" ")
            return
        self.builder.end(level=level, kind="references" if self._references is not None else "")


def _is_left_out(element: Any, name: str) -> bool:
    if name in _LEFT_OUT or element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return True
    if element.get("role") in _ROLES:
        return True
    return name == "a" and element.get("href", "").startswith("#") and set("".join(element.itertext()).strip()) <= _BACK


def _are_references(element: Any) -> bool:
    return element.get("role") == "doc-bibliography" or _REFERENCES.search(element.get("class", "")) is not None


def _formula(element: Any) -> str:
    """As TeX between dollar signs where the page says it so, else its signs."""
    tex = element.get("alttext") or next(
        ("".join(each.itertext()) for each in element.iter() if each.get("encoding") == "application/x-tex"), ""
    )
    return f"${tex.strip()}$" if tex.strip() else "".join(element.itertext())


def _main(root: Any) -> Any:
    for path in ("//main", "//*[@role='main']", "//article"):
        found = root.xpath(path)
        if len(found) == 1:
            return found[0]
    return next(iter(root.xpath("//body")), root)


def _title(root: Any) -> str:
    metadata = {
        (meta.get("name") or meta.get("property") or "").lower(): meta.get("content") or ""
        for meta in root.iter("meta")
    }
    headings = [" ".join("".join(each.itertext()).split()) for each in root.iter("h1")]
    stated = [metadata.get(_TITLES[0], ""), *(headings if len(headings) == 1 else [])]
    stated += [metadata.get(name, "") for name in _TITLES[1:]]
    stated += ["".join(title.itertext()) for title in root.iter("title")]
    return next((title for title in stated if title.strip()), "")
