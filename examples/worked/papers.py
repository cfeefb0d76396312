"""Choose papers for the worked example and cut each to a few pages: SOURCE... --out FOLDER.

A source is a PDF file or a folder of them. A paper is taken when its text layer has enough English words; the first
pages with running text are kept, so that no paper has more than its share of the questions. Run it again at any time:
what stands in the folder is left alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pymupdf

_PAGES = 4
_LEAST_CHARACTERS = 1500  # of a page with running text
_ENGLISH = re.compile(r"\b(the|of|and|to|in|is|that|for|with|are|we|by|as|on|be|this|from)\b")
_LEAST_ENGLISH = 0.2  # share of such words; a page of English prose has about a third


def papers_in(sources: Iterable[Path]) -> list[Path]:
    """The PDF files among `sources` and in those that are folders, by name. Raises `SystemExit` for a missing one."""
    found: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise SystemExit(f"there is no {source}: name PDF files or folders of them")
        for path in sorted(source.glob("*.pdf")) if source.is_dir() else [source]:
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


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
    for path in papers_in(asked.sources):
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
