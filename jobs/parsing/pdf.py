"""Reading a PDF with PyMuPDF: its title and the cleaned text of its pages, or the reason why there is none.

It runs in a worker process (`engine.workers`): a hostile file may crash, hang or eat memory there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from engine.errors import Permanent
from jobs.parsing.arrange import arrange, kinds_of, what_is_left_out
from jobs.parsing.cleaning import clean
from jobs.parsing.extracted import MAX_CHARACTERS, MIN_CHARACTERS, Extracted, LeftOut
from jobs.parsing.failures import failed
from jobs.parsing.fragments import pages_in_fragments, with_whole_words
from jobs.parsing.headings import Found, find_headings
from jobs.parsing.layout import Layout, printed_text, running_as_most
from jobs.parsing.mupdf_text import Unreadable, blocks, printed, read_layout
from jobs.parsing.ocr import INSTALL, can_read, scanned_pages, searchable
from jobs.parsing.page_texts import outline, page_texts, segment_starts
from jobs.parsing.parsers import FURNITURE, REFERENCES, Options
from jobs.parsing.section_names import back_matter
from jobs.parsing.source import MAX_BYTES, Source, read_source
from jobs.parsing.title import Line as TitleLine
from jobs.parsing.title import choose_title

__all__ = ["extract", "read", "warm_up"]

HEADER_WINDOW = 1024  # bytes in which "%PDF-" must stand, as readers of the format have always done
MAX_PAGES = 20_000


def warm_up() -> None:
    """Import PyMuPDF, keep its messages to itself, and spare it the conversion of colours: nothing here looks at them."""
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    pymupdf.TOOLS.set_icc(False)


def extract(path: str, *, sha256_expected: str = "", max_bytes: int = MAX_BYTES) -> Extracted:
    """The PDF at `path`, as `read` reads it; for what looks at papers outside a run."""
    data = read_source(Source(path=path, sha256=sha256_expected), max_bytes=max_bytes)
    return read(data, path, Options())


def read(data: bytes, path: str, options: Options) -> Extracted:
    """The parser "pdf". A file that opens with an empty password is no different from one without.

    Invisible text is read too: scans carry theirs so.
    """
    import pymupdf

    warm_up()
    if b"%PDF-" not in data[:HEADER_WINDOW]:
        raise failed("not_pdf")
    try:
        # Told the type, MuPDF does not guess: it would open web pages, images and plain text as documents.
        with pymupdf.open(stream=data, filetype="pdf") as document:
            return _document(document, data, options)
    except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError) as error:
        raise _foreign(error) from error
    finally:
        pymupdf.TOOLS.store_shrink(100)  # what one file left in MuPDF's cache is no other's business


def _document(document: Any, data: bytes, options: Options) -> Extracted:
    if not document.is_pdf:
        raise failed("not_pdf")
    if document.needs_pass:
        raise failed("encrypted")
    count = document.page_count
    if not count:
        raise failed("damaged" if document.is_repaired else "no_pages")
    if count > MAX_PAGES:
        raise failed("too_large", f"{count:,} pages")
    layout = _layout(document)
    scanned = scanned_pages(document, _silent(layout)) if options.ocr == "auto" else []
    recognised: list[int] = []
    if scanned and can_read():
        copy, recognised = searchable(document, scanned)
        with copy:
            layout = _layout(copy)
    if broken := pages_in_fragments(layout):
        layout = with_whole_words(layout, data, broken)
    kinds = kinds_of(layout)
    title = _title(document, layout, kinds)
    kinds, found = _sections(layout, kinds, find_headings(layout, outline(document), _furniture(kinds), title))
    text = page_texts(
        arrange(layout, kinds, options, segment_starts(found, kinds)), count, {each.lines[0]: each for each in found}
    )
    omitted = list(what_is_left_out(layout, kinds, options))
    _check_text(document, text.pages, len(layout.unreadable), advice=INSTALL if scanned and not recognised else "")
    return Extracted(
        title=title,
        pages=text.pages,
        headings=text.headings,
        parts=text.parts,
        tables=text.tables,
        left_out=_counted(omitted),
        omitted=omitted,
        unreadable_pages=len(layout.unreadable),
        repaired=bool(document.is_repaired),
        recognised_pages=[number + 1 for number in recognised],
        remarks=[f"{len(broken)} of {count} pages come in pieces of words and were read by PDFium"] if broken else [],
    )


def _layout(document: Any) -> Layout:
    import pymupdf

    # Without CID_FOR_UNKNOWN a glyph of unknown meaning becomes U+FFFD, which is removed, not a letter by accident.
    flags = pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
    layout = read_layout(document, flags, max_characters=MAX_CHARACTERS)
    if layout is None:
        raise failed("too_large", f"more than {MAX_CHARACTERS:,} characters")
    return layout


def _silent(layout: Layout) -> list[int]:
    """The pages that can be read and say nothing."""
    texts = [[layout.lines[number].text for number in page.lines] for page in layout.pages]
    return [
        number for number, lines in enumerate(texts) if number not in layout.unreadable and not "".join(lines).strip()
    ]


def _furniture(kinds: Mapping[int, str]) -> set[int]:
    return {number for number, kind in kinds.items() if kind == FURNITURE}


def _sections(layout: Layout, kinds: Mapping[int, str], found: Sequence[Found]) -> tuple[dict[int, str], list[Found]]:
    """The kinds with lists of references that end where another section certainly starts, and the headings outside them."""
    ended = dict(kinds)
    kept: list[Found] = []
    for heading in found:
        first = heading.lines[0]
        if ended.get(first) == REFERENCES and ended.get(_before(layout, ended, first)) == REFERENCES:
            if not heading.certain or back_matter(heading.title) == "references":
                continue
            number = first
            while number < len(layout.lines) and ended.get(number) in (REFERENCES, FURNITURE):
                if ended[number] == REFERENCES:
                    del ended[number]
                number += 1
        kept.append(heading)
    return ended, kept


def _before(layout: Layout, kinds: Mapping[int, str], number: int) -> int:
    """The line before that is no furniture."""
    number -= 1
    while kinds.get(number) == FURNITURE:
        number -= 1
    return number


def _counted(omitted: Iterable[LeftOut]) -> dict[str, int]:
    characters = Counter[str]()
    for each in omitted:
        characters[each.kind] += len(each.text)
    return dict(characters)


def _check_text(document: Any, pages: list[str], unreadable: int, *, advice: str) -> None:
    letters_and_digits = filter(str.isalnum, chain.from_iterable(pages))
    characters = sum(1 for _ in islice(letters_and_digits, MIN_CHARACTERS))
    if not characters and (unreadable or document.is_repaired):
        raise failed("damaged")
    if characters < MIN_CHARACTERS:
        attached = document.embfile_count()
        detail = f"{attached} attached files are not read" if attached else f"{characters} letters and digits"
        raise failed("no_text", f"{detail}; {advice}" if advice else detail)
    if (
        pages[0].startswith("Please wait...")
        and document.xref_get_key(document.pdf_catalog(), "AcroForm/XFA")[0] != "null"
    ):
        raise failed("no_text", "an XFA form, whose content is not on its pages")


def _title(document: Any, layout: Layout, kinds: Mapping[int, str]) -> str:
    return choose_title(
        lambda: _first_lines(document, layout, kinds),
        metadata=(document.metadata or {}).get("title") or "",
        first_page=lambda: clean(printed_text(layout, layout.pages[0].lines)),
    )


def _first_lines(document: Any, layout: Layout, kinds: Mapping[int, str]) -> list[TitleLine]:
    """The lines of the first page without furniture, where a glyph of unknown meaning may be a letter; none if it cannot be read."""
    import pymupdf

    lines = [layout.lines[number] for number in layout.pages[0].lines if kinds.get(number) != FURNITURE]
    if any("\ufffd" in line.text for line in lines):
        try:
            lines = list(chain.from_iterable(blocks(printed(document, 0, pymupdf.TEXTFLAGS_TEXT))))
        except Unreadable:
            return []
    return [
        TitleLine(text=line.text, size=line.size, top=line.top, bottom=line.bottom) for line in running_as_most(lines)
    ]


def _foreign(error: Exception) -> Permanent:
    """PyMuPDF raises three unrelated families of exceptions for one thing: a file that it cannot make sense of."""
    import pymupdf

    if isinstance(error, pymupdf.mupdf.FzErrorSystem):
        return failed("out_of_memory")
    return failed("damaged", type(error).__name__)
