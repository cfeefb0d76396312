from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pymupdf

from jobs.parsing import pdf

TEXT = "The mill grinds the grain of the village in long and even turns of its stone."
REFERENCES = [
    "[1] A. Miller. On stones. Journal of Mills 3, 12-19, 1999.",
    "[2] B. Baker and C. Cook. Grain and flour. In Proceedings of Bread, pages 1-9, 2004.",
    "[3] D. Smith, E. Jones. Water wheels. Annals of Rivers, 17(2):33-48, 2011. doi:10.1000/x1",
    "[4] F. Wood. Old mills. Mill Press, New York, 1987.",
] * 3


def paper(path: Path, lines: list[tuple[float, str]], toc: Sequence[list[object]] = ()) -> Path:
    """A page of lines by size, each below the other; those larger than 10 points in bold, with room around them."""
    with pymupdf.open() as document:
        page = document.new_page(height=1200)
        y = 60.0
        for size, text in lines:
            y += 1.2 * size if size == 10 else 2.2 * size
            page.insert_text((72, y), text, fontsize=size, fontname="tiro" if size == 10 else "tibo")
            y += 0 if size == 10 else 4
        document.set_toc(list(toc))
        document.save(path)
    return path


def test_headings_stand_where_they_are_said_to(tmp_path: Path) -> None:
    """Each is a paragraph of its own, and `start` is its place on its page."""
    lines = [(18, "On Mills and Grain"), (14, "Introduction"), *[(10, TEXT)] * 5, (14, "Results"), *[(10, TEXT)] * 5]
    extracted = pdf.extract(str(paper(tmp_path / "mill.pdf", lines)))
    assert [(heading.level, heading.title) for heading in extracted.headings] == [(1, "Introduction"), (1, "Results")]
    for heading in extracted.headings:
        assert extracted.pages[heading.page][heading.start :].startswith(f"{heading.title}\n\nThe mill")


def test_an_appendix_ends_the_references(tmp_path: Path) -> None:
    """What stands under a heading behind them is kept, and belongs to its own section."""
    lines = [
        (18, "On Mills and Grain"), (14, "Introduction"), *[(10, TEXT)] * 8, (14, "References"),
        *[(10, each) for each in REFERENCES], (14, "Appendix"), *[(10, TEXT)] * 4,
    ]  # fmt: skip
    extracted = pdf.extract(str(paper(tmp_path / "mill.pdf", lines)))
    assert "Water wheels" not in extracted.pages[0]
    assert extracted.pages[0].count("grain of the village") == 12
    assert [heading.title for heading in extracted.headings] == ["Introduction", "Appendix"]


def test_the_outline_of_the_file_gives_levels(tmp_path: Path) -> None:
    """An entry in the print of the text is a heading, too; one that stands nowhere is none."""
    lines = [(18, "On Mills and Grain"), (14, "Results"), *[(10, TEXT)] * 4, (10, "Of stones"), *[(10, TEXT)] * 4]
    toc: list[list[object]] = [[1, "Results", 1], [2, "Of stones", 1], [2, "Of nothing", 1]]
    extracted = pdf.extract(str(paper(tmp_path / "mill.pdf", lines, toc)))
    assert [(heading.level, heading.title) for heading in extracted.headings] == [(1, "Results"), (2, "Of stones")]
