from __future__ import annotations

import json
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
from formats_made import latex

from engine.datasets import Dataset
from engine.errors import Permanent
from engine.files import make_folder
from engine.signals import Stop
from jobs.parsing.deal import Catalogue, deal
from jobs.parsing.find import count_papers, find_papers
from jobs.parsing.source import Source, read_source
from jobs.records import Paper


def names(*paths: Path, parser: str = "auto") -> list[str]:
    return [Path(place.name).name for place in find_papers(paths, parser=parser)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def test_all_kinds_are_found_and_a_named_parser_finds_its_own(folder: Path) -> None:
    """By their endings, in capitals too; what no parser reads is passed over."""
    for name in ("a.pdf", "b.MD", "c.html", "d.nxml", "e.epub", "f.docx", "g.txt", "h.png", "i.doc", "j"):
        (folder / name).write_text("words")
    assert names(folder) == ["a.pdf", "b.MD", "c.html", "d.nxml", "e.epub", "f.docx", "g.txt"]
    assert names(folder, parser="pdf") == ["a.pdf"]
    assert names(folder, parser="html") == ["c.html"]


def test_a_folder_of_latex_is_one_paper_for_each_document(folder: Path) -> None:
    """Files that a document includes, and drawings of their own, are parts; one that is named is read whatever it says."""
    (folder / "main.tex").write_bytes(b"% words about \\documentclass\n" + latex("words"))
    (folder / "answer.tex").write_bytes(latex("other words").replace(b"{article}", b"{letter}"))
    (folder / "part.tex").write_text(r"\section{One} % see \documentclass{article}")
    (folder / "figure.tex").write_text(r"\documentclass[tikz]{standalone}\begin{document}x\end{document}")
    (folder / "old.sty").write_text("words")
    assert names(folder) == ["answer.tex", "main.tex"]
    assert names(folder / "part.tex") == ["part.tex"]


def write_lines(path: Path, lines: list[bytes], end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(lines) + end)
    return path


LINES = [b'{"text": "one"}', b"", b'{"text": "two"}', b"  ", b'{"text": "thr\xc3\xa9e"}']


@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n"])
def test_each_line_is_a_paper(folder: Path, end: bytes) -> None:
    """Blank ones are none; each has its number and its place, with an end of line at the end of the file or without."""
    path = write_lines(folder / "papers.jsonl", LINES, end)
    assert names(folder) == ["papers.jsonl#1", "papers.jsonl#3", "papers.jsonl#5"]
    data = path.read_bytes()
    places = list(find_papers([path]))
    assert [data[place.offset or 0 :][: place.length] for place in places] == [LINES[0], LINES[2], LINES[4]]
    assert count_papers([path], enough=20) == 3
    assert names(path, parser="text") == ["papers.jsonl"]


async def dealt(folder: Path, run: Path) -> list[Paper]:
    papers, catalogue = Dataset(run / "papers", Paper), Catalogue(run / "papers" / "catalogue.sqlite3")
    make_folder(run / "papers")
    try:
        await deal([folder], papers, catalogue, per_shard=32, stop=Stop()).run()
    finally:
        catalogue.close()
    return list(papers.rows())


async def test_a_line_is_dealt_with_its_place_and_its_own_checksum(folder: Path, tmp_path: Path) -> None:
    """The row finds the line again, and tells when it has changed; lines that are added are new papers."""
    path = write_lines(folder / "papers.jsonl", LINES)
    rows = await dealt(folder, tmp_path / "run")
    assert [row.path for row in rows] == [f"{path}#{number}" for number in (1, 3, 5)]
    assert [read_source(Source.of(row)) for row in rows] == [LINES[0], LINES[2], LINES[4]]
    assert [Source.of(row).label for row in rows] == ["papers 1", "papers 3", "papers 5"]
    assert rows[2].sha256 == sha256(LINES[4]).hexdigest()
    assert await dealt(folder, tmp_path / "run") == rows
    write_lines(path, [*LINES, b'{"text": "four"}'])
    assert [row.path for row in (await dealt(folder, tmp_path / "run"))[3:]] == [f"{path}#6"]
    write_lines(path, [LINES[0].replace(b"one", b"two"), *LINES[1:]])
    with pytest.raises(Permanent) as caught:
        read_source(Source.of(rows[0]))
    assert caught.value.kind == "changed"


async def test_the_same_line_twice_is_two_papers(folder: Path, tmp_path: Path) -> None:
    """Their ids differ; that their text is one is found when they are parsed."""
    write_lines(folder / "papers.jsonl", [LINES[0], LINES[0]])
    rows = await dealt(folder, tmp_path / "run")
    assert len({row.id for row in rows}) == 2
    assert rows[0].sha256 == rows[1].sha256


async def test_a_whole_file_has_the_row_that_it_always_had(folder: Path, tmp_path: Path) -> None:
    """No field of a line stands in it, byte for byte."""
    (folder / "a.pdf").write_bytes(b"%PDF")
    await dealt(folder, tmp_path / "run")
    row = json.loads((tmp_path / "run" / "papers" / "00000.jsonl").read_bytes())
    assert list(row) == ["id", "parent", "path", "sha256", "bytes"]


def test_no_line_is_held_in_memory(folder: Path) -> None:
    """A file of long lines takes no more memory than one piece of them."""
    path = folder / "papers.jsonl"
    with path.open("wb") as file:
        for _ in range(3):
            file.write(b'{"text": "' + b"x" * 20_000_000 + b'"}\n')
    tracemalloc.start()
    try:
        assert [place.length for place in find_papers([path])] == [20_000_012] * 3
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_lines_that_cannot_be_read_is_one_paper(folder: Path) -> None:
    """A link to nowhere is dealt, so that parsing says what is wrong with it."""
    (folder / "papers.jsonl").symlink_to(folder / "nowhere")
    assert names(folder) == ["papers.jsonl"]
