"""The parser "jats": the XML in which PubMed Central and most journals keep articles."""

from __future__ import annotations

from typing import Any

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats.blocks import Builder, assemble
from jobs.parsing.formats.tree import local_name, parse_xml, superscript, walk
from jobs.parsing.parsers import Options

__all__ = ["read"]

_LEFT_OUT = frozenset(
    "journal-meta article-categories contrib-group aff author-notes pub-date history permissions self-uri kwd-group "
    "funding-group counts custom-meta-group related-article article-id volume issue fpage lpage elocation-id "
    "object-id alternatives-graphic graphic media supplementary-material processing-meta trans-abstract sub-article "
    "response floats-wrap".split()
)
_SECTIONS = frozenset("sec app ack ref-list abstract notes glossary fn-group bio boxed-text".split())
_BLOCKS = frozenset(
    "p title ref tr disp-formula def-item list-item caption fn verse-line disp-quote td-group label".split()
)
_LABELLED = frozenset("sec app fig table-wrap ref list-item fn boxed-text".split())
_CELLS = ("td", "th")
_UNTITLED = {"abstract": "Abstract", "ack": "Acknowledgements", "ref-list": "References"}


def read(data: bytes, path: str, options: Options) -> Extracted:
    """Title, abstract, body and back matter. Sections and references are those that the file names.

    Authors, affiliations and other metadata are left out, and so are responses to the article.
    """
    root = parse_xml(data)
    article = root if local_name(root) == "article" else next(iter(root.iter("{*}article")), None)
    if article is None:
        raise failed("wrong_format", f"XML with the root <{local_name(root)}>, and not a JATS <article>")
    title = next(iter(article.iterfind(".//{*}article-meta//{*}article-title")), None)
    reader = _Reader(title)
    walk(article, start=reader.start, end=reader.end, text=reader.text)
    reader.builder.end()
    return assemble(
        reader.builder.blocks, options, title=" ".join("".join(title.itertext()).split()) if title is not None else ""
    )


class _Reader:
    """Turns the elements of an article into blocks."""

    def __init__(self, title: Any) -> None:
        self.builder = Builder()
        self._title = title
        self._depth = 0  # of sections
        self._references: Any = None  # the outermost list of them, while it is open
        self._label = ""
        self._cells = 0  # of tables that are open

    def text(self, text: str | None) -> None:
        """Running text; the label that waits stands before it."""
        if self._label and text and text.strip():
            self.builder.add(f"{self._label} ")
            self._label = ""
        self.builder.add(text)

    def start(self, element: Any, name: str) -> bool:
        if name in _LEFT_OUT or (name == "title-group" and self._title is None):
            return False
        if element is self._title:
            self.builder.add(_all_text(element))
            self._flush()
            return False
        if name in ("alternatives", "inline-formula", "disp-formula", "math", "tex-math"):
            return self._formula(element, name)
        if name == "sup":
            self._raise(element)
            return False
        if name == "label":
            return self._keep_label(element)
        if name in _SECTIONS or name in _BLOCKS:
            self._flush()
        if name in _SECTIONS:
            self._open_section(element, name)
        self._cells += name in _CELLS
        return True

    def end(self, element: Any, name: str) -> None:
        if name in _CELLS:
            self._cells -= 1
            self.builder.add(" | ")
        elif name == "title" and local_name(element.getparent()) in _SECTIONS:
            self._flush(level=self._depth)
        elif name in _SECTIONS or name in _BLOCKS:
            self._flush()
        if name in _LABELLED:
            self._label = ""
        if name in _SECTIONS:
            self._depth -= 1
            if element is self._references:
                self._references = None

    def _open_section(self, element: Any, name: str) -> None:
        self._depth += 1
        if name == "ref-list" and self._references is None:
            self._references = element
        if name in _UNTITLED and element.find("{*}title") is None:
            self.builder.add(_UNTITLED[name])
            self._flush(level=self._depth)

    def _flush(self, level: int = 0) -> None:
        if self._cells and not level:
            self.builder.add(" ")
            return
        self.builder.end(level=level, kind="references" if self._references is not None else "")

    def _formula(self, element: Any, name: str) -> bool:
        """A formula is its TeX where there is one, else its signs; its own blocks are not gone into."""
        if name == "disp-formula":
            self._flush()
        if name == "alternatives" and next(element.iter("{*}tex-math", "{*}math"), None) is None:
            return True  # of pictures or tables
        tex = element if name == "tex-math" else next(element.iter("{*}tex-math"), None)
        if tex is None:
            self.builder.add(" ".join(_all_text(element).split()))
        else:
            self.builder.add(_tex("".join(tex.itertext())))
        if name == "disp-formula":
            self._flush()
        return False

    def _raise(self, element: Any) -> None:
        linked = next(element.iter("{*}xref"), None) is not None or local_name(element.getparent()) == "xref"
        self.builder.add(superscript(self.builder.last, "".join(element.itertext()), linked=linked))

    def _keep_label(self, element: Any) -> bool:
        """A label waits for the title or the text that it numbers."""
        if local_name(element.getparent()) in _LABELLED:
            self._flush()
            self._label = " ".join(_all_text(element).split())
        return False


def _all_text(element: Any) -> str:
    return "".join(element.itertext())


def _tex(text: str) -> str:
    r"""What stands between ``\begin{document}`` and ``\end{document}``, as many publishers wrap each formula."""
    inside = text.partition(r"\begin{document}")[2].partition(r"\end{document}")[0] or text
    inside = " ".join(inside.split())
    return inside if inside.startswith("$") else f"${inside}$"
