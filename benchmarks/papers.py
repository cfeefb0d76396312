"""Papers to measure with: distinct PDFs with the same number of pages, cut out of the papers at hand."""

from __future__ import annotations

from itertools import count, islice
from pathlib import Path

__all__ = ["cut_papers", "sources"]

_ROOT = Path(__file__).resolve().parents[1]


def sources() -> list[Path]:
    """The shared test papers where they lie beside the repository, else the example papers."""
    shared = next(
        (folder for folder in (_ROOT.parent / "shared", _ROOT.parents[1] / "shared") if folder.is_dir()), None
    )
    good = sorted((shared / "papers" / "good").glob("*.pdf")) if shared else []
    return good or sorted((_ROOT / "examples" / "papers").glob("*.pdf"))


def cut_papers(folder: Path, papers: int, pages: int) -> list[Path]:
    """`papers` files in `folder`, each of up to `pages` consecutive pages of a source; no two with the same pages.

    Where the sources have too few pages, ranges overlap.
    """
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    opened = [pymupdf.open(path) for path in sources()]
    ranges = (
        (number, start)
        for offset in count()
        for number, document in enumerate(opened)
        for start in range(offset % pages, max(1, document.page_count - 2), pages)
    )
    paths = []
    for made, (number, start) in enumerate(islice(ranges, papers)):
        path = folder / f"{made:03d}.pdf"
        with pymupdf.open() as piece:
            piece.insert_pdf(opened[number], from_page=start, to_page=min(start + pages, len(opened[number])) - 1)
            piece.ez_save(path)
        paths.append(path)
    return paths
