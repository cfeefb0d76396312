"""Dealing papers into shards: every paper found gets one row, readable or not, in the order of the folders.

The catalogue beside the shards remembers which files were dealt and which text belongs to which paper, on disk, so that
neither memory nor the start of a resumed run grows with the corpus. It follows the shards: a shard is sealed first, then
entered, and the last one is entered again at every start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from engine.datasets import Dataset
from engine.files import naming_the_disk
from engine.job import Step
from engine.records import make_id
from engine.signals import Stop, uninterrupted
from jobs.parsing.find import PIECE_BYTES, Place, find_papers
from jobs.parsing.parsers import AUTO
from jobs.records import Paper
from jobs.run.sqlite_errors import naming_the_database

__all__ = ["Catalogue", "deal", "shard_size"]


def deal(
    paths: Sequence[Path],
    papers: Dataset[Paper],
    catalogue: Catalogue,
    *,
    per_shard: int | Literal["auto"],
    stop: Stop,
    parser: str = AUTO,
) -> Step:
    """The step that deals what `parser` reads and is not dealt yet. The first shards are small: work starts at once.

    Seven parameters: two say where papers come from, two where they go, and three how.
    """

    async def run() -> None:
        start = await asyncio.to_thread(_next_shard, papers, catalogue)
        places = _new_places(find_papers(paths, parser=parser), catalogue, _roots(paths))
        index = start
        while rows := await asyncio.to_thread(_next_rows, places, catalogue, shard_size(index, per_shard)):
            stop.check()
            await uninterrupted(asyncio.to_thread(papers.write_sealed, index, rows))
            await uninterrupted(asyncio.to_thread(catalogue.enter, rows))
            papers.notify()
            index += 1

    return Step(name="deal", run=run, writes="papers")


def shard_size(index: int, per_shard: int | Literal["auto"]) -> int:
    """Most papers of shard `index`: few in the first ones. With "auto" 32 in each of the first 64, then twice as many in
    each further 64, up to 256.

    It depends on nothing else, so a run that was killed deals the same shards.
    """
    most = min(256, 32 << min(3, index // 64)) if per_shard == "auto" else per_shard
    return min(most, 2 << min(index, 30))


_TABLES = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists files (path text primary key, sha256 text not null) without rowid;
create index if not exists files_by_sha256 on files (sha256);
create table if not exists moved (path text primary key) without rowid;
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
            select = "select 1 from files where path = ? union all select 1 from moved where path = ?"
            return database.execute(select, (path, path)).fetchone() is not None

    def holders(self, sha256: str) -> list[str]:
        """The paths of the files with these bytes that were dealt."""
        with self._transaction() as database:
            return [path for (path,) in database.execute("select path from files where sha256 = ?", (sha256,))]

    def move(self, path: str) -> None:
        """Remember that the file at `path` is one that was dealt from another place."""
        with self._transaction() as database:
            database.execute("insert or ignore into moved values (?)", (path,))

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
        """Give up every claim, before the papers are parsed again."""
        with self._transaction() as database:
            database.execute("delete from texts")


def _next_shard(papers: Dataset[Paper], catalogue: Catalogue) -> int:
    with naming_the_disk(papers.folder):
        papers.folder.mkdir(exist_ok=True)
    papers.settle()
    sealed = papers.sealed()
    for index in (number for number, found in enumerate(sealed) if number != found):
        papers.shard(index).verify()  # what stands behind a gap would be left out by all that follows
    # The last shard may have been sealed just before a crash; a lost catalogue is written again from all of them.
    for index in sealed if catalogue.is_empty() else sealed[-1:]:
        catalogue.enter(papers.read(index))
    return sealed[-1] + 1 if sealed else 0


def _roots(paths: Sequence[Path]) -> list[Path]:
    """The folders and files of this session, as the paths of papers begin."""
    return [path.resolve() if path.is_dir() else path.parent.resolve() / path.name for path in paths]


def _new_places(
    places: Iterator[Place], catalogue: Catalogue, roots: Sequence[Path]
) -> Iterator[tuple[Place, str, int]]:
    """Each place that is not dealt yet, with its digest and size.

    A corpus may come back from another folder: a file is known by its bytes too, where every file that was dealt with
    them lies outside the `roots` of now. Two files with the same bytes in one corpus are both dealt.
    """
    for place in places:
        if catalogue.dealt(place.name):
            continue
        sha256, size_bytes = _digest(place)
        holders = catalogue.holders(sha256) if sha256 else []
        if holders and not any(Path(holder).is_relative_to(root) for holder in holders for root in roots):
            catalogue.move(place.name)
            continue
        yield place, sha256, size_bytes


def _next_rows(places: Iterator[tuple[Place, str, int]], catalogue: Catalogue, size: int) -> list[Paper]:
    rows: list[Paper] = []
    copies: dict[str, int] = {}
    for place, sha256, size_bytes in places:
        if any(row.path == place.name for row in rows):
            continue
        copy = catalogue.copies(sha256) + copies.get(sha256, 0)
        copies[sha256] = copies.get(sha256, 0) + 1
        id_ = make_id("paper", sha256, copy)
        rows.append(Paper(id=id_, parent="", path=place.name, sha256=sha256, bytes=size_bytes, offset=place.offset))
        if len(rows) == size:
            break
    return rows


def _digest(place: Place) -> tuple[str, int]:
    """The sha256 and the size of a paper; ("", 0) where it cannot be read."""
    try:
        if not place.path.is_file():  # a pipe would be waited for
            return "", 0
        with place.path.open("rb") as file:
            if place.offset is None:
                return hashlib.file_digest(file, "sha256").hexdigest(), place.path.stat().st_size
            file.seek(place.offset)
            digest, left = hashlib.sha256(), place.length
            while left and (piece := file.read(min(left, PIECE_BYTES))):
                digest.update(piece)
                left -= len(piece)
            return digest.hexdigest(), place.length
    except OSError:
        return "", 0  # parsing says why
