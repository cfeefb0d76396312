"""The parser "epub": a book's chapters in the order in which they are read."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats import html
from jobs.parsing.formats.blocks import Block, assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.formats.packed import Packed
from jobs.parsing.formats.tree import parse_html, parse_xml
from jobs.parsing.parsers import Options

__all__ = ["read"]

_CONTAINER = "META-INF/container.xml"
_FONT_KEYS = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html")


def read(data: bytes, path: str, options: Options) -> Extracted:
    """The pages of the book's spine, each as a web page; the table of contents is left out.

    Only what stands in the file itself is read. Raises `Permanent` of kind "encrypted" where the text is locked.
    """
    with Packed(data) as packed:
        if _CONTAINER not in packed.names:
            raise failed("wrong_format", "no EPUB: there is no META-INF/container.xml in it")
        if _is_locked(packed):
            raise failed("encrypted", "digital rights management")
        book, folder = _package(packed)
        title = next((element.text or "" for element in book.iter("{*}title")), "")
        blocks: list[Block] = []
        for name in _spine(book, folder):
            if name in packed.names:
                root = parse_html(decode(packed.read(name)))
                blocks += html.blocks(next(iter(root.iter("body")), root))
    return assemble(blocks, options, title=title)


def _is_locked(packed: Packed) -> bool:
    """Whether more than fonts is encrypted."""
    if "META-INF/encryption.xml" not in packed.names:
        return False
    methods = [
        each.get("Algorithm", "")
        for each in parse_xml(packed.read("META-INF/encryption.xml")).iter("{*}EncryptionMethod")
    ]
    return any(method.encode() not in _FONT_KEYS for method in methods)


def _package(packed: Packed) -> tuple[Any, str]:
    """The root of the package document, and the folder that it stands in."""
    for rootfile in parse_xml(packed.read(_CONTAINER)).iter("{*}rootfile"):
        name = rootfile.get("full-path", "")
        if name in packed.names:
            return parse_xml(packed.read(name)), posixpath.dirname(name)
    raise failed("damaged", "the EPUB has no package document")


def _spine(book: Any, folder: str) -> list[str]:
    """The names of the pages in reading order, each once."""
    pages = {
        item.get("id"): posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        for item in book.iter("{*}item")
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    }
    read = [pages[each.get("idref")] for each in book.iter("{*}itemref") if each.get("idref") in pages]
    return list(dict.fromkeys(read))
