"""Choose papers for the worked example and cut each to a few pages: SOURCE... --out FOLDER.

A source is a PDF file, a folder of them, or a list like papers.csv, whose papers are fetched from the public repositories
that it names and kept when their sha256 is the one listed. A paper is taken when its text layer has enough English
words; the first pages with running text are kept, so that no paper has more than its share of the questions. Run it again
at any time: what stands in the folder is left alone.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import urllib.request
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pymupdf

_PAGES = 4
_LEAST_CHARACTERS = 1500  # of a page with running text
_ENGLISH = re.compile(r"\b(the|of|and|to|in|is|that|for|with|are|we|by|as|on|be|this|from)\b")
_LEAST_ENGLISH = 0.2  # share of such words; a page of English prose has about a third


def fetched(sources: Iterable[Path], folder: Path) -> list[Path]:
    """`sources` with every list among them replaced by its papers, which are fetched into `folder`."""
    return [path for source in sources for path in (fetch(source, folder) if source.suffix == ".csv" else [source])]


def papers_in(sources: Iterable[Path]) -> list[Path]:
    """The PDF files among `sources` and in those that are folders, by name. Raises `SystemExit` for a missing one."""
    found: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise SystemExit(f"there is no {source}: name PDF files or folders of them")
        for path in sorted(source.glob("*.pdf")) if source.is_dir() else [source]:
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


_HOST = "https://raw.githubusercontent.com"


def fetch(listed: Path, folder: Path, host: str = _HOST) -> list[Path]:
    """The papers of the list at `listed`, in `folder`: those that are there, and the others from `host`.

    A paper that cannot be fetched, or is not the one listed, is told on stderr and left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with listed.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            target = folder / row["file"]
            if not target.exists():
                url = f"{host}/{row['repository']}/{row['commit']}/{quote(row['path'])}"
                try:
                    with urllib.request.urlopen(url, timeout=60) as reply:
                        data = reply.read()
                except OSError as error:
                    print(f"cannot fetch {row['file']}: {error}", file=sys.stderr)
                    continue
                if sha256(data).hexdigest() != row["sha256"]:
                    print(f"left out, not the paper that is listed: {row['file']}", file=sys.stderr)
                    continue
                target.with_suffix(".partial").write_bytes(data)
                target.with_suffix(".partial").rename(target)
            found.append(target)
    return found


def cut(path: Path, target: Path, pages: int = _PAGES) -> int:
    """Write the first `pages` pages of `path` that hold running English text to `target`; returns how many there are.

    A paper with fewer than two such pages, or with more full pages that are not, is not written, and 0 is returned.
    """
    with pymupdf.open(path) as paper:
        texts = [page.get_text() for page in paper]
        chosen = [number for number, text in enumerate(texts) if is_prose(text)]
        full = sum(len(text) >= _LEAST_CHARACTERS for text in texts)
        if len(chosen) < max(2, full / 2):  # a few pages in English do not make a paper in English
            return 0
        chosen = chosen[:pages]
        paper.select(chosen)
        partial = target.with_suffix(".partial")
        paper.save(partial, garbage=3, deflate=True)
    partial.replace(target)
    return len(chosen)


def is_prose(text: str) -> bool:
    """Whether a page has enough text, and enough of the commonest English words among its words."""
    words = re.findall(r"[a-z]+", text.lower())
    common = sum(1 for word in words if _ENGLISH.fullmatch(word))
    return len(text) >= _LEAST_CHARACTERS and common >= _LEAST_ENGLISH * len(words)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--pages", type=int, default=_PAGES)
    parser.add_argument("--except", nargs="*", default=[], dest="left_out", metavar="NAME", help="files to leave out")
    asked = parser.parse_args(arguments)
    pymupdf.TOOLS.mupdf_display_errors(False)
    asked.out.mkdir(parents=True, exist_ok=True)
    for path in papers_in(fetched(asked.sources, asked.out.with_name(f"{asked.out.name}-whole"))):
        target = asked.out / path.name
        if path.name in asked.left_out:
            continue
        pages = 0 if target.exists() else cut(path, target, asked.pages)
        if not target.exists():
            print(f"left out, too little English text: {path.name}", file=sys.stderr)
        elif pages:
            print(f"{pages} pages of {path.name}")
    print(f"{len(list(asked.out.glob('*.pdf')))} papers in {asked.out}")


if __name__ == "__main__":
    main()
