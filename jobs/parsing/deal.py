"""Dealing papers into shards: every file found gets one row, readable or not, in the order of the folders.

The catalogue beside the shards remembers which files were dealt and which text belongs to which paper, on disk, so that
neither memory nor the start of a resumed run grows with the corpus. It follows the shards: a shard is sealed first, then
entered, and the last one is entered again at every start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.files import naming_the_disk
from engine.job import Step
from engine.records import make_id
from engine.signals import Stop, uninterrupted
from jobs.records import Paper
from jobs.run.sqlite_errors import naming_the_database

__all__ = ["Catalogue", "count_papers", "deal", "find_papers"]


def find_papers(paths: Sequence[Path]) -> Iterator[Path]:
    """The files among `paths`, and every ``.pdf`` below its folders, folder by folder in order of name; blocks.

    A file is known by its path, so a folder has one path however it is spelt: absolute, without links or "..".
    Raises `BadInput` for what is not there or cannot be listed.
    """
    for path in paths:
        if not path.exists():
            raise BadInput(f"there is no file or folder {path}")
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if path.is_dir():
            yield from _below(path.resolve(), seen)
        else:
            yield path.parent.resolve() / path.name


def count_papers(paths: Sequence[Path], *, enough: int) -> int:
    """How many papers there are, counted no further than `enough`; blocks. Raises `BadInput` when there is none."""
    count = sum(1 for _ in islice(find_papers(paths), enough))
    if paths and not count:
        raise BadInput(f"no papers found: there is no .pdf file in {', '.join(map(str, paths))}")
    return count


def deal(paths: Sequence[Path], papers: Dataset[Paper], catalogue: Catalogue, *, per_shard: int, stop: Stop) -> Step:
    """The step that deals what is not dealt yet. The first shards are small, so that work starts at once."""

    async def run() -> None:
        start = await asyncio.to_thread(_next_shard, papers, catalogue)
        files = find_papers(paths)
        index = start
        while rows := await asyncio.to_thread(_next_rows, files, catalogue, min(per_shard, 2 ** (index + 1))):
            stop.check()
            await uninterrupted(asyncio.to_thread(papers.write_sealed, index, rows))
            await uninterrupted(asyncio.to_thread(catalogue.enter, rows))
            papers.notify()
            index += 1

    return Step(name="deal", run=run, writes="papers")


_TABLES = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists files (path text primary key, sha256 text not null) without rowid;
create index if not exists files_by_sha256 on files (sha256);
create table if not exists texts (digest text primary key, paper_id text not null) without rowid;
"""


class Catalogue:
    """What was dealt, and whose text is whose. Its methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @cached_property
    def _database(self) -> sqlite3.Connection:
        """Opened when it is first needed: a run that is refused leaves no file."""
        with contextlib.ExitStack() as opened:
            database = sqlite3.connect(self._path, check_same_thread=False, isolation_level="IMMEDIATE")
            opened.callback(database.close)
            database.executescript(_TABLES)
            opened.pop_all()  # it stays open
        return database

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, naming_the_database(self._path, made_from="the shards"), self._database as database:
            yield database

    def close(self) -> None:
        if "_database" in self.__dict__:
            self._database.close()

    def is_empty(self) -> bool:
        with self._transaction() as database:
            return database.execute("select 1 from files limit 1").fetchone() is None

    def dealt(self, path: str) -> bool:
        with self._transaction() as database:
            return database.execute("select 1 from files where path = ?", (path,)).fetchone() is not None

    def copies(self, sha256: str) -> int:
        """How many files with these bytes were dealt."""
        with self._transaction() as database:
            return int(database.execute("select count(*) from files where sha256 = ?", (sha256,)).fetchone()[0])

    def enter(self, papers: Sequence[Paper]) -> None:
        """Remember that these were dealt; entering them again changes nothing."""
        with self._transaction() as database:
            rows = [(paper.path, paper.sha256) for paper in papers]
            database.executemany("insert or ignore into files values (?, ?)", rows)

    def claim(self, claims: Sequence[tuple[str, str]]) -> list[str]:
        """For each (digest of a text, paper id), the id of the paper that claimed this text first."""
        with self._transaction() as database:
            database.executemany("insert or ignore into texts values (?, ?)", claims)
            select = "select paper_id from texts where digest = ?"
            return [database.execute(select, (digest,)).fetchone()[0] for digest, _ in claims]

    def forget_texts(self) -> None:
        """Give up every claim, when the papers are parsed anew."""
        with self._transaction() as database:
            database.execute("delete from texts")


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Each folder once, however many links lead to it."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"cannot read the folder {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            yield from _below(Path(entry.path), seen)
        elif entry.name.lower().endswith(".pdf"):
            yield Path(entry.path)


def _next_shard(papers: Dataset[Paper], catalogue: Catalogue) -> int:
    with naming_the_disk(papers.folder):
        papers.folder.mkdir(exist_ok=True)
    papers.settle()
    sealed = papers.sealed()
    for index in (number for number, found in enumerate(sealed) if number != found):
        papers.shard(index).verify()  # what stands behind a gap would be left out by all that follows
    # The last shard may have been sealed just before a crash; a catalogue that was lost is written anew from them all.
    for index in sealed if catalogue.is_empty() else sealed[-1:]:
        catalogue.enter(papers.read(index))
    return sealed[-1] + 1 if sealed else 0


def _next_rows(files: Iterator[Path], catalogue: Catalogue, size: int) -> list[Paper]:
    rows: list[Paper] = []
    copies: dict[str, int] = {}
    for path in files:
        # A name that is not UTF-8 cannot stand in JSON; the file is then reported as unreadable under a like name.
        name = os.fsencode(path).decode("utf-8", "backslashreplace")
        if catalogue.dealt(name) or any(row.path == name for row in rows):
            continue
        sha256, size_bytes = _digest(path)
        copy = catalogue.copies(sha256) + copies.get(sha256, 0)
        copies[sha256] = copies.get(sha256, 0) + 1
        rows.append(Paper(id=make_id("paper", sha256, copy), parent="", path=name, sha256=sha256, bytes=size_bytes))
        if len(rows) == size:
            break
    return rows


def _digest(path: Path) -> tuple[str, int]:
    try:
        if not path.is_file():  # a pipe would be waited for
            return "", 0
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError:
        return "", 0  # parsing says why
