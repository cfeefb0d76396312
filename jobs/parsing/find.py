"""Finding papers: the files that a parser reads among paths and below folders, and the lines of files of many papers."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath

import msgspec

from engine.errors import BadInput
from jobs.parsing.parsers import AUTO, HEAD_BYTES, Entry, entries

__all__ = ["Place", "count_papers", "find_papers"]

RUN_SETTINGS = "run.toml"
"""A folder with this file is a run: its rows are no papers, though their files look like some."""

PIECE_BYTES = 2**20
"""How much of a long line is read at once."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a paper stands: a file, or with ``line``, counted from 1, that line of it: ``length`` bytes at ``offset``."""

    path: Path
    line: int = 0
    offset: int | None = None
    length: int = 0

    @property
    def name(self) -> str:
        """Its path as text, with ``#`` and the number of its line where it is one.

        A name that is not UTF-8 cannot stand in JSON; the file is then reported as unreadable under a like name.
        """
        path = os.fsencode(self.path).decode("utf-8", "backslashreplace")
        return f"{path}#{self.line}" if self.line else path


def find_papers(paths: Sequence[Path], *, parser: str = AUTO) -> Iterator[Place]:
    """The files among `paths`, and below its folders every file that `parser` reads, in order of name; blocks.

    A file is known by its path, so a folder has one path however it is spelt: absolute, without links or "..". A file
    of which each line is a paper gives as many places. Raises `BadInput` for what is not there or cannot be listed.
    """
    read = entries(parser)
    for path in paths:
        if not path.exists():
            raise BadInput(f"there is no file or folder {path}")
    seen: set[tuple[int, int]] = set()
    for path in paths:
        one = path.parent.resolve() / path.name
        for file in _below(path.resolve(), read, seen) if path.is_dir() else [one]:
            yield from _papers_in(file, read)


def count_papers(paths: Sequence[Path], *, enough: int, parser: str = AUTO) -> int:
    """How many papers there are, counted no further than `enough`; blocks. Raises `BadInput` when there is none."""
    count = sum(1 for _ in islice(find_papers(paths, parser=parser), enough))
    if paths and not count:
        suffixes = sorted({suffix for entry in entries(parser) for suffix in entry.suffixes})
        raise BadInput(f"no papers found: there is no {' or '.join(suffixes)} file in {', '.join(map(str, paths))}")
    return count


def _below(folder: Path, read: Collection[Entry], seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Each folder once, however many links lead to it; no run of ours."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"cannot read the folder {folder}: {error.strerror}") from error
    if any(entry.name == RUN_SETTINGS for entry in found):
        return
    for entry in found:
        if _is_folder(entry):
            yield from _below(Path(entry.path), read, seen)
        elif (kind := _kind(entry.name, read)) and not (kind.in_parts and _is_part(Path(entry.path), kind)):
            yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: parsing says so, where it is called like a paper
        return False


def _kind(name: str, read: Collection[Entry]) -> Entry | None:
    suffix = PurePath(name).suffix.lower()
    return next((kind for kind in read if suffix in kind.suffixes), None)


def _is_part(path: Path, kind: Entry) -> bool:
    if not path.is_file():
        return False  # parsing says why it cannot be read
    try:
        with path.open("rb") as file:
            return not kind.fits(file.read(HEAD_BYTES))
    except OSError:
        return False


def _papers_in(file: Path, read: Collection[Entry]) -> Iterator[Place]:
    kind = _kind(file.name, read)
    if kind is None or not kind.a_line_each or not file.is_file():
        yield Place(path=file)
        return
    try:
        yield from _lines(file)
    except OSError:
        yield Place(path=file)  # parsing says why it cannot be read


def _lines(path: Path) -> Iterator[Place]:
    """The lines that are not blank; none is held in memory, however long."""
    offset = number = 0
    with path.open("rb") as file:
        while piece := file.readline(PIECE_BYTES):
            number += 1
            length, blank = len(piece), not piece.strip()
            while not piece.endswith(b"\n") and (piece := file.readline(PIECE_BYTES)):
                length, blank = length + len(piece), blank and not piece.strip()
            if not blank:
                yield Place(path=path, line=number, offset=offset, length=length - piece.endswith(b"\n"))
            offset += length
