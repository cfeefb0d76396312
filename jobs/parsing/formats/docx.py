"""The parser "docx": a document of Word's, whose styles say what is a heading."""

from __future__ import annotations

import io

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats import html
from jobs.parsing.formats.blocks import assemble
from jobs.parsing.formats.packed import Packed
from jobs.parsing.formats.tree import parse_html
from jobs.parsing.parsers import Options

__all__ = ["read"]

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STYLES = "p[style-name='Title'] => h1.title:fresh"


def read(data: bytes, path: str, options: Options) -> Extracted:
    """Headings, paragraphs, items, rows of tables and footnotes. Pictures are not looked at.

    Raises `Permanent` of kind "encrypted" for a locked document, which is no zip file, as an old .doc is none either.
    """
    import mammoth

    if data.startswith(_OLD_OFFICE):
        raise failed("encrypted", "or it is a .doc, which must be saved as .docx")
    with Packed(data) as packed:
        if "word/document.xml" not in packed.names:
            raise failed("wrong_format", "no DOCX: there is no word/document.xml in it")
    try:
        no_pictures = mammoth.images.img_element(lambda image: {})
        page = mammoth.convert_to_html(io.BytesIO(data), style_map=_STYLES, convert_image=no_pictures).value
    except MemoryError:
        raise
    except Exception as error:  # the library checks nothing of what it reads, and fails in every way that Python has
        raise failed("damaged", f"{type(error).__name__}: {error}"[:200]) from error
    root = parse_html(f"<html><body>{page}</body></html>")
    titles = root.xpath("//h1[@class='title']")
    return assemble(html.blocks(root), options, title="".join(titles[0].itertext()) if titles else "")
