"""The parser "markdown": CommonMark with tables, footnotes, front matter and formulas between dollar signs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.blocks import Block, Builder, assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.parsers import Options

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["blocks", "read"]

_TITLE = re.compile(r"^title:[ \t]*(?P<quote>[\"']?)(?P<title>.+?)(?P=quote)[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<[^<>]*>")
_PLAIN = {"text", "code_inline"}
_BREAKS = {"softbreak", "hardbreak"}


def read(data: bytes, path: str, options: Options) -> Extracted:
    """Marks of emphasis and targets of links go; formulas stay as they are written. The title is the front matter's."""
    text = decode(data)
    front = next((token.content for token in _parser().parse(text) if token.type == "front_matter"), "")
    title = found["title"] if (found := _TITLE.search(front)) else ""
    return assemble(blocks(text), options, title=title)


def blocks(text: str) -> list[Block]:
    """The headings, paragraphs, items of lists, rows of tables and lines of code."""
    builder, level, cells = Builder(), 0, False
    for token in _parser().parse(text):
        match token.type:
            case "heading_open":
                level = int(token.tag[1])
            case "heading_close":
                level = 0
            case "tr_open" | "tr_close":
                builder.end()
                cells = token.type == "tr_open"
            case "inline":
                builder.add(_inline(token.children or ()))
                builder.add(" | ") if cells else builder.end(level=level)
            case "fence" | "code_block" | "html_block":
                for line in token.content.splitlines():
                    builder.add(_TAG.sub(" ", line) if token.type == "html_block" else line)
                    builder.end()
            case "math_block" | "math_block_label":
                builder.add(f"$${token.content}$$")
                builder.end()
    return builder.blocks


def _inline(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    for token in tokens:
        if token.type in _PLAIN:
            parts.append(token.content)
        elif token.type in _BREAKS:
            parts.append(" ")
        elif token.type == "math_inline":
            parts.append(f"${token.content}$")
        elif token.type == "math_inline_double":
            parts.append(f"$${token.content}$$")
        elif token.type == "image":
            parts.append(token.content)  # what stands for it in words
        elif token.type == "html_inline" and token.content.lower().startswith("<br"):
            parts.append(" ")
    return "".join(parts)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.front_matter import front_matter_plugin

    parser = MarkdownIt("commonmark", {"maxNesting": 50}).enable("table").enable("strikethrough")
    return (
        parser.use(front_matter_plugin)
        .use(footnote_plugin)
        .use(dollarmath_plugin, allow_space=False, double_inline=True)
    )
