from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest

from engine.errors import Permanent
from jobs.records import Paper
from jobs.serve.page_drawing import Drawing, Drawn, Wanted, draw

LINES = [
    "On Mills, a Journal of Stones",
    "The mill grinds the corn of the whole valley with two stones, and its wheel",
    "turns in the river that comes down from the hills beyond the town.",
    "A second chunk of the paper says what the miller does in winter, when the",
    "river is frozen and the wheel stands still for weeks and weeks.",
]


def printed(folder: Path, *, rotation: int = 0) -> Paper:
    document = pymupdf.open()
    page = document.new_page(width=500, height=700)
    for number, line in enumerate(LINES):
        page.insert_text((40, 60 + 30 * number), line, fontsize=11)
    page.set_rotation(rotation)
    path = folder / "paper.pdf"
    path.write_bytes(document.tobytes())
    return Paper(id="a", parent="", path=str(path), sha256="", bytes=path.stat().st_size)


WANTED = [
    Wanted("left", 0, LINES[0]),
    Wanted("chunk", 0, f"{LINES[1]} {LINES[2]}"),
    Wanted("chunk", 1, f"{LINES[3]} {LINES[4]}"),
    Wanted("quote", 7, "with two stones, and its wheel turns in the river"),
]


def places(drawn: Drawn) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for mark in drawn.marks:
        found[mark.kind, mark.number] = found.get((mark.kind, mark.number), 0) + 1
    return found


def test_what_stands_where(tmp_path: Path) -> None:
    """Each line is marked as its chunk's or as left out, and a quote over the two lines that it runs over."""
    drawn = draw(Drawing(paper=printed(tmp_path), page=1, wanted=WANTED))
    assert drawn.png.startswith(b"\x89PNG")
    assert (drawn.width, drawn.height) == (1000, 1400)
    assert places(drawn) == {("left", 0): 1, ("chunk", 0): 2, ("chunk", 1): 2, ("quote", 7): 2}
    line = next(mark for mark in drawn.marks if mark.kind == "left")
    assert line.x == pytest.approx(80, abs=4)
    assert line.y < 120 < line.y + line.height + 6


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_marks_turn_with_the_page(tmp_path: Path, rotation: int) -> None:
    """On a page that is shown turned, the marks stand inside the picture, and lines that run down are higher than wide."""
    drawn = draw(Drawing(paper=printed(tmp_path, rotation=rotation), page=1, wanted=WANTED))
    for mark in drawn.marks:
        assert 0 <= mark.x <= mark.x + mark.width <= drawn.width
        assert 0 <= mark.y <= mark.y + mark.height <= drawn.height
        assert (mark.height > mark.width) == (rotation != 180)


def test_what_cleaning_changed_is_found_again(tmp_path: Path) -> None:
    """A line of which a citation or a hyphen was taken out is still its chunk's."""
    text = f"{LINES[1]} {LINES[2]}".replace("the whole ", "").replace("down from", "downfrom")
    drawn = draw(Drawing(paper=printed(tmp_path), page=1, wanted=[Wanted("chunk", 0, text)]))
    assert places(drawn) == {("chunk", 0): 2}


def test_a_file_that_cannot_be_drawn_is_a_failure(tmp_path: Path) -> None:
    """Another file, one that is gone, no PDF, or a page that is not there: each is said, none is a crash."""
    paper = printed(tmp_path)
    with pytest.raises(Permanent, match="no page 2"):
        draw(Drawing(paper=paper, page=2, wanted=[]))
    Path(paper.path).write_bytes(b"<html>" * 100)
    with pytest.raises(Permanent):
        draw(Drawing(paper=paper, page=1, wanted=[]))
    Path(paper.path).unlink()
    with pytest.raises(Permanent):
        draw(Drawing(paper=paper, page=1, wanted=[]))
