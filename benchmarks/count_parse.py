"""How many instructions does reading a paper take beside bare extraction, and which step takes them?

Counted by valgrind's cachegrind, which has to be installed: unlike times, the counts are the same whatever else the
machine does, to a thousandth. Each step runs in a process of its own, with papers and without, and the difference counts;
caches are empty at the start, as in a new worker. Not part of `make bench`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymupdf
from papers import cut_papers
from tables import options, show

from jobs.parsing import parse
from jobs.parsing.chunks import chunk_pages
from jobs.parsing.cleaning import clean_pages
from jobs.parsing.layout import printed_text
from jobs.parsing.mupdf_text import read_layout
from jobs.records import Paper

FLAGS = pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
SETTINGS = parse.Settings(
    chunk_size=1024, chunk_overlap=200, split_by="paper", train=0.7, seed=0, max_bytes=200 * 2**20
)


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]), bool(int(sys.argv[4])))
        return
    given = options(__doc__, papers=12, pages=16)
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not there: install it")
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        cut_papers(Path(name), given.papers, given.pages)
        runs = [(step, papers) for step in STEPS for papers in (False, True)]
        counts = dict(zip(runs, pool.map(lambda run: counted(name, *run), runs), strict=True))
    millions = {step: (counts[step, True] - counts[step, False]) / 1e6 for step in STEPS}
    show(
        f"Instructions for {given.papers} papers",
        ["", "millions", "× bare extraction"],
        [[step, f"{count:.0f}", f"{count / millions['bare extraction']:.2f}"] for step, count in millions.items()],
    )


def counted(folder: str, step: str, papers: bool) -> int:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, __file__, "--one", step, folder, str(int(papers))]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = re.search(r"I *refs: *([\d,]+)", ran.stderr)
    assert found is not None
    return int(found[1].replace(",", ""))


def one(step: str, folder: Path, papers: bool) -> None:
    parse.warm_up()
    prepare, take = STEPS[step]
    prepared = prepare(sorted(folder.glob("*.pdf")))
    for paper in prepared if papers else ():
        take(paper)


def paths(found: Sequence[Path]) -> Sequence[Path]:
    return found


def raw(found: Sequence[Path]) -> list[list[str]]:
    return [text(path) for path in found]


def cleaned(found: Sequence[Path]) -> list[list[str]]:
    return [clean_pages(pages) for pages in raw(found)]


def bare(path: Path) -> None:
    pymupdf.TOOLS.set_icc(True)  # as it is by default
    with pymupdf.open(path) as document:
        for page in document:
            page.get_text()


def interpret(path: Path) -> None:
    with pymupdf.open(path) as document:
        for page in document:
            page.get_textpage(flags=FLAGS)


def text(path: Path) -> list[str]:
    with pymupdf.open(path) as document:
        layout = read_layout(document, FLAGS, max_characters=10**9)
    assert layout is not None
    return [printed_text(layout, page.lines) for page in layout.pages]


def read(path: Path) -> None:
    parse.read_paper((Paper(id=path.name, parent="", path=str(path), sha256="", bytes=0), SETTINGS))


STEPS: dict[str, tuple[Callable[[Sequence[Path]], Sequence[Any]], Callable[[Any], Any]]] = {
    "bare extraction": (paths, bare),
    "reading, all in all": (paths, read),
    "pages interpreted by MuPDF": (paths, interpret),
    "... and their text taken out": (paths, text),
    "cleaning": (raw, clean_pages),
    "chunks": (cleaned, lambda pages: chunk_pages(pages, chunk_size=1024, chunk_overlap=200)),
}


if __name__ == "__main__":
    main()
