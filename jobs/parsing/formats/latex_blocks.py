"""From LaTeX source to blocks, by pylatexenc's reading of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jobs.parsing.formats.blocks import Block

__all__ = ["LatexBlocks"]

_SECTIONS = {
    "part": 1,
    "chapter": 2,
    "section": 3,
    "subsection": 4,
    "subsubsection": 5,
    "paragraph": 6,
    "subparagraph": 7,
}
_TITLES = ("title", "icmltitle", "thesistitle")
_GO_IN = frozenset(
    "abstract acknowledgements acknowledgment acks appendix appendices center quote quotation itemize enumerate "
    "description figure table theorem lemma proof definition corollary proposition remark example document titlepage "
    "minipage thebibliography wrapfigure wraptable sidewaystable sidewaysfigure subfigure subtable".split()
)
_LEFT_OUT = frozenset("tikzpicture pgfpicture picture filecontents comment CCSXML".split())
_NAMED = {"abstract": "Abstract", "acks": "Acknowledgements", "acknowledgements": "Acknowledgements"}
_TABULAR = frozenset("tabular tabularx tabulary longtable array".split())
_BEFORE_STOP = re.compile(r" ([.,;:)])(?= |$)")  # where a reference was
_STUMBLES = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_EMPTY_LINES = re.compile(r"\n[ \t]*\n\s*")


class LatexBlocks:
    """Reads a source; what comes out stands in ``blocks`` and ``title``."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.title = ""
        self._kind = ""

    def read(self, text: str) -> None:
        """Take in a whole source. Raises `RecursionError` where it is nested too deeply."""
        from pylatexenc.latexwalker import LatexWalker

        before, begin, inside = text.partition(r"\begin{document}")
        body = inside.partition(r"\end{document}")[0] if begin else text
        for part in [before, body] if begin else [body]:
            nodes, _, _ = LatexWalker(part, latex_context=_walking(), tolerant_parsing=True).get_latex_nodes()
            self._go(nodes, only_title=part is before and bool(begin))

    def _go(self, nodes: Sequence[Any], *, only_title: bool = False) -> None:
        run: list[Any] = []
        for node in nodes:
            if node is None:
                continue
            macro, environment = getattr(node, "macroname", None), getattr(node, "environmentname", None)
            if macro in _TITLES and not self.title:
                self.title = " ".join(_text(_arguments(node)[-1:]).split())
                continue
            if only_title:
                continue
            level = _SECTIONS.get(macro or "", 0)
            name = (environment or "").rstrip("*")
            starts = macro in ("item", "bibitem", "caption", "par", "newblock")
            if level or starts or name in _GO_IN | _LEFT_OUT | _TABULAR:
                self._flush(run)
                run = []
            if level:
                self._add(_text(_arguments(node)[-1:]), level=level)
            elif macro == "caption":
                self._add(_text(_arguments(node)[-1:]))
            elif name in _TABULAR:
                self._rows(node)
            elif name in _GO_IN:
                self._enter(node, name)
            elif name not in _LEFT_OUT:
                run.append(node)
        self._flush(run)

    def _enter(self, node: Any, name: str) -> None:
        before = self._kind
        if name == "thebibliography":
            self._kind = "references"
        if name in _NAMED:
            self._add(_NAMED[name], level=_SECTIONS["section"])
        self._go(node.nodelist)
        self._kind = before

    def _rows(self, node: Any) -> None:
        for row in re.split(r"\n\s*\n", _text([node], _rows_to_text())):
            self._add(re.sub(r"\s*\|\s*", " | ", row).strip(" |"), is_row=True)

    def _flush(self, run: Sequence[Any]) -> None:
        for paragraph in _EMPTY_LINES.split(_text(run)):
            self._add(paragraph)

    def _add(self, text: str, *, level: int = 0, is_row: bool = False) -> None:
        if text := _BEFORE_STOP.sub(r"\1", " ".join(text.split())):
            self.blocks.append(Block(text=text, level=level, kind=self._kind, is_row=is_row))


def _arguments(node: Any) -> list[Any]:
    given = node.nodeargd.argnlist if node.nodeargd is not None else []
    return [argument for argument in given or () if argument is not None]


def _text(nodes: Sequence[Any], converter: Any = None) -> str:
    """The text of `nodes`; one that the library stumbles over, as a link without its words, is left out."""
    to_text = converter or _to_text()
    try:
        return str(to_text.nodelist_to_text(list(nodes))) if nodes else ""
    except _STUMBLES:
        return "".join(_text([node], converter) for node in nodes) if len(nodes) > 1 else ""


@cache
def _walking() -> Any:
    from pylatexenc.latexwalker import get_default_latex_context_db
    from pylatexenc.macrospec import EnvironmentSpec, MacroSpec

    context = get_default_latex_context_db()
    macros = [MacroSpec(name, "*[[{") for name in ("citep", "citet", "textcite", "parencite", "autocite", "citeauthor")]
    macros += [
        MacroSpec(name, "{") for name in ("eqref", "autoref", "cref", "Cref", "thanks", "orcid", "url", "vspace*")
    ]
    macros += [*(MacroSpec(name, "*[{") for name in _TITLES), MacroSpec("bibitem", "[{"), MacroSpec("caption", "*[{")]
    environments = [EnvironmentSpec("thebibliography", "{"), EnvironmentSpec("tabularx", "{{")]
    environments += [EnvironmentSpec("wrapfigure", "[{[{"), EnvironmentSpec("longtable", "[{")]
    context.add_context_category("papers", macros=macros, environments=environments, prepend=True)
    return context


def _cited(node: Any, l2tobj: Any) -> str:
    keys = _arguments(node)[-1:]
    return f"[{l2tobj.nodelist_to_text(keys)}]" if keys else ""


def _item(node: Any, l2tobj: Any) -> str:
    """The word that an item of a description explains."""
    return f"{l2tobj.nodelist_to_text(_arguments(node))} "


def _converter(*rows: Any) -> Any:
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, SpecialsTextSpec, get_default_latex_context_db

    context = get_default_latex_context_db()
    cites = ("cite", "citep", "citet", "textcite", "parencite", "autocite", "citeauthor")
    silent = ("ref", "eqref", "autoref", "cref", "Cref", "label", "thanks", "orcid", "includegraphics", "bibliography")
    macros = [MacroTextSpec(name, simplify_repl=_cited) for name in cites]
    macros += [MacroTextSpec(name, discard=True, simplify_repl="") for name in (*silent, "hline", "toprule", "midrule")]
    macros += [
        MacroTextSpec(name, discard=True, simplify_repl="") for name in ("bottomrule", "bibliographystyle", "maketitle")
    ]
    macros += [MacroTextSpec("item", simplify_repl=_item)]
    macros += [MacroTextSpec("\\", simplify_repl="\n\n" if rows else "\n")]
    specials = [SpecialsTextSpec("&", simplify_repl=" | " if rows else " ")]
    context.add_context_category("papers", macros=macros, specials=specials, prepend=True)
    return LatexNodes2Text(latex_context=context, math_mode="verbatim", keep_comments=False, strict_latex_spaces=False)


@cache
def _to_text() -> Any:
    return _converter()


@cache
def _rows_to_text() -> Any:
    return _converter("rows")
