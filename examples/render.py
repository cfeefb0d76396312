"""Renders the example papers: text in `source/` to PDF in `papers/`, the same bytes each time.

Run it with ``python examples/render.py`` after a change to a source. Nothing in the output depends on the time or the
machine: the fonts are MuPDF's own, the dates are fixed, and the file gets no identifier of its own.

The source is a small part of Markdown: ``# title``, a line of authors, ``> abstract``, ``## headings``, paragraphs,
``- `` lists, tables, fenced code, and ``*emphasis*``, ``**strong**`` and ```code``` within a line.
"""

from __future__ import annotations

import io
import re
import sys
from html import escape
from pathlib import Path

import pymupdf

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
PAPERS = HERE / "papers"

AUTHORS = "The gristmill authors"
DATE = "D:20260101000000Z"  # fixed: the file must not change when only the day has
MARGIN = 71  # points

STYLE = """
body { font-family: serif; font-size: 10.5pt; line-height: 1.32; }
h1 { font-family: serif; font-size: 20pt; line-height: 1.15; text-align: center; margin: 0 0 10pt 0; }
p { margin: 0 0 6.5pt 0; text-align: justify; }
p.authors { text-align: center; font-size: 11.5pt; margin: 0 0 16pt 0; }
p.abstract-head { text-align: center; font-weight: bold; margin: 0 0 4pt 0; }
p.abstract { font-size: 9.8pt; margin: 0 26pt 12pt 26pt; }
p.reference { font-size: 9.5pt; text-align: left; margin: 0 0 4pt 0; }
h2 { font-family: serif; font-size: 12.5pt; margin: 13pt 0 5pt 0; }
ul { margin: 0 0 6pt 0; padding-left: 16pt; }
li { margin: 0 0 3pt 0; }
code { font-family: monospace; font-size: 9.3pt; }
pre { font-family: monospace; font-size: 9.3pt; margin: 2pt 0 8pt 20pt; line-height: 1.35; }
table { margin: 4pt 0 5pt 20pt; font-size: 9.8pt; }
th { text-align: left; font-weight: bold; padding: 2pt 22pt 3pt 0; }
td { text-align: left; padding: 1.5pt 22pt 1.5pt 0; }
"""


def main() -> int:
    """Render every source to `papers/` and say what was written."""
    PAPERS.mkdir(exist_ok=True)
    for source in sorted(SOURCE.glob("*.md")):
        target = PAPERS / f"{source.stem}.pdf"
        target.write_bytes(render(source.read_text("utf-8")))
        print(f"{target.relative_to(HERE)}  {target.stat().st_size:,} bytes")
    return 0


def render(text: str) -> bytes:
    """Lay one paper out on A4 pages and return the PDF."""
    document = pymupdf.open("pdf", lay_out(to_html(text)))
    for number, page in enumerate(document, 1):
        foot = pymupdf.Point(page.rect.width / 2 - 3, page.rect.height - MARGIN / 2)
        page.insert_text(foot, str(number), fontname="tiro", fontsize=9.5)
    document.set_metadata(
        {
            "title": title_of(text),
            "author": AUTHORS,
            "creator": "examples/render.py",
            "producer": "PyMuPDF",
            "creationDate": DATE,
            "modDate": DATE,
        }
    )
    document.subset_fonts()
    return bytes(document.tobytes(garbage=4, deflate=True, deflate_fonts=True, use_objstms=1, no_new_id=True))


def lay_out(html: str) -> bytes:
    """Flow `html` over as many pages as it needs."""
    page = pymupdf.paper_rect("a4")
    frame = pymupdf.Rect(MARGIN, MARGIN - 6, page.width - MARGIN, page.height - MARGIN + 24)
    story = pymupdf.Story(html, user_css=STYLE)
    buffer = io.BytesIO()
    writer = pymupdf.DocumentWriter(buffer)
    more = 1
    while more:
        device = writer.begin_page(page)
        more, _ = story.place(frame)
        story.draw(device)
        writer.end_page()
    writer.close()
    return buffer.getvalue()


def title_of(text: str) -> str:
    """The text of the first line, without its mark."""
    return text.split("\n", 1)[0].removeprefix("# ").strip()


def to_html(text: str) -> str:
    """Translate the part of Markdown that the sources use."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return f"<body>{''.join(map(block_html, blocks))}</body>"


def block_html(block: str) -> str:
    if block.startswith("# "):
        return f"<h1>{inline(block[2:])}</h1>"
    if block == AUTHORS:
        return f'<p class="authors">{inline(block)}</p>'
    if block.startswith("> "):
        return f'<p class="abstract-head">Abstract</p><p class="abstract">{inline(block[2:])}</p>'
    if block.startswith("## "):
        return f"<h2>{inline(block[3:])}</h2>"
    if block.startswith("```"):
        return f"<pre>{escape(block.removeprefix('```').removesuffix('```').strip())}</pre>"
    if block.startswith("- "):
        return f"<ul>{''.join(f'<li>{inline(line[2:])}</li>' for line in block.splitlines())}</ul>"
    if block.startswith("|"):
        return table_html(block.splitlines())
    if re.match(r"\[\d+\] ", block):
        return f'<p class="reference">{inline(block)}</p>'
    return f"<p>{inline(block)}</p>"


def table_html(lines: list[str]) -> str:
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = ["".join(f"<th>{inline(cell)}</th>" for cell in head)]
    rows += ["".join(f"<td>{inline(cell)}</td>" for cell in cells) for cells in body]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def inline(text: str) -> str:
    text = escape(text, quote=False).replace("\n", " ")
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"\*([^*]+)\*", r"<i>\1</i>", text)


if __name__ == "__main__":
    sys.exit(main())
