"""Small files of every kind that a parser reads, made when they are asked for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping

import pymupdf

__all__ = ["MADE", "TEXT", "docx", "epub", "html", "jats", "latex", "p", "packed"]

TEXT = (
    "Grain is fed between two stones. The upper stone turns and the lower one rests. Flour leaves at the rim, and the "
    "miller feels it between his fingers. When it is warm, the stones are too close."
)


def html(body: str, head: str = "") -> bytes:
    """A page in UTF-8."""
    return f"<!DOCTYPE html><html><head><meta charset='utf-8'>{head}</head><body>{body}</body></html>".encode()


def jats(body: str, *, title: str = "How a Mill Grinds", back: str = "", doctype: str = "") -> bytes:
    """An article whose metadata holds a title, an author and a journal."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<article xmlns:mml="http://www.w3.org/1998/Math/MathML"><front>'
        "<journal-meta><journal-title>Journal of Mills</journal-title></journal-meta><article-meta><title-group>"
        f"<article-title>{title}</article-title></title-group><contrib-group><contrib>Ada Author</contrib></contrib-group>"
        f"<abstract><p>{TEXT}</p></abstract></article-meta></front><body>{body}</body><back>{back}</back></article>"
    ).encode()


def latex(body: str, *, before: str = "") -> bytes:
    """A whole source."""
    lines = [
        r"\documentclass[11pt]{article}",
        before,
        r"\title{How a Mill Grinds}",
        r"\author{Ada Author}",
        r"\begin{document}",
        r"\maketitle",
        body,
        r"\end{document}",
    ]
    return "\n".join(lines).encode()


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """A zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            compression = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            file.writestr(name, content, compression)
    return made.getvalue()


def epub(pages: Mapping[str, str], *, title: str = "How a Mill Grinds", **more: str) -> bytes:
    """A book of pages, each the inside of a body by its name, after a table of contents; `more` are further files."""
    items = "".join(
        f'<item id="i{number}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(pages)
    )
    read = "".join(f'<itemref idref="i{number}"/>' for number in range(len(pages)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>'
        f'{title}</dc:title></metadata><manifest><item id="nav" href="nav.xhtml" properties="nav" '
        f'media-type="application/xhtml+xml"/>{items}</manifest><spine><itemref idref="nav"/>{read}</spine></package>'
    )
    page = (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head/><body>{}</body></html>'
    )
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": package,
            "OEBPS/nav.xhtml": page.format("<h1>Table of contents</h1>"),
            **{f"OEBPS/{name}": page.format(body) for name, body in pages.items()},
            **more,
        }
    )


_OFFICE = "http://schemas.openxmlformats.org/"
_WORD = f'xmlns:w="{_OFFICE}wordprocessingml/2006/main"'
_RELATION = f"{_OFFICE}officeDocument/2006/relationships"


def docx(body: str, **more: str) -> bytes:
    """A document with the styles Title, Heading1 and Heading2; `p` makes its paragraphs. `more` are further files."""
    names = {"Title": "Title", "Heading1": "heading 1", "Heading2": "heading 2"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{id_}"><w:name w:val="{name}"/></w:style>'
        for id_, name in names.items()
    )
    relations = f'<Relationships xmlns="{_OFFICE}package/2006/relationships"><Relationship Id="r1" Type="{{}}" Target="{{}}"/></Relationships>'
    types = (
        f'<Types xmlns="{_OFFICE}package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>'
    )
    return packed(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": relations.format(f"{_RELATION}/officeDocument", "word/document.xml"),
            "word/_rels/document.xml.rels": relations.format(f"{_RELATION}/styles", "styles.xml"),
            "word/styles.xml": f"<w:styles {_WORD}>{styles}</w:styles>",
            "word/document.xml": f"<w:document {_WORD}><w:body>{body}</w:body></w:document>",
            **more,
        }
    )


def p(text: str, style: str = "") -> str:
    """A paragraph of a document."""
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{styled}<w:r><w:t>{text}</w:t></w:r></w:p>"


def _pdf() -> bytes:
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((72, 60), "How a Mill Grinds", fontsize=18)
        page.insert_textbox((72, 90, 520, 800), f"Introduction\n\n{TEXT}", fontsize=10)
        made: bytes = document.tobytes()
        return made


MADE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pdf": ("mill.pdf", _pdf),
    "markdown": ("mill.md", lambda: f"# How a Mill Grinds\n\n## Stones of markdown\n\n{TEXT}\n".encode()),
    "html": (
        "mill.html",
        lambda: html(f"<main><h1>How a Mill Grinds</h1><h2>Stones of html</h2><p>{TEXT}</p></main>"),
    ),
    "jats": ("mill.xml", lambda: jats(f"<sec><title>Stones of jats</title><p>{TEXT}</p></sec>")),
    "latex": ("mill.tex", lambda: latex(rf"\section{{Stones of latex}} {TEXT}")),
    "epub": ("mill.epub", lambda: epub({"one.xhtml": f"<h1>Stones of epub</h1><p>{TEXT}</p>"})),
    "docx": (
        "mill.docx",
        lambda: docx(p("How a Mill Grinds", "Title") + p("Stones of docx", "Heading1") + p(TEXT)),
    ),
    "text": ("mill.txt", lambda: f"Stones of text\n\n{TEXT}\n".encode()),
    "jsonl": (
        "mill.jsonl",
        lambda: json.dumps({"title": "How a Mill Grinds", "text": f"# Stones of jsonl\n\n{TEXT}"}).encode(),
    ),
}
"""For every name of the table of parsers: a file's name, and what makes its bytes. All but the first have a word of theirs."""
