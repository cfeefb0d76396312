"""What SQLite says, as one line: each by an error that SQLite itself raises."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import Fatal
from jobs.run.sqlite_errors import naming_the_database


def full(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma max_page_count = 4")
        database.execute("create table texts (text)")
        database.executemany("insert into texts values (?)", [("x" * 4000,)] * 20)


def read_only(path: Path) -> None:
    sqlite3.connect(path).close()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.execute("create table texts (text)")


def a_folder(path: Path) -> None:
    path.mkdir()
    sqlite3.connect(path)


def in_use(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, closing(sqlite3.connect(path, timeout=0)) as other:
        database.execute("begin exclusive")
        other.execute("create table texts (text)")


def damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with closing(sqlite3.connect(path)) as database:
        database.execute("select * from texts")


@pytest.mark.parametrize(
    ("harm", "advice"),
    [
        (full, "the disk is full or fails: free some space"),
        (read_only, "make its folder writable"),
        (a_folder, "make its folder writable"),
        (in_use, "another program has it open"),
        (damaged, "delete it and run the same command again: it is rebuilt from the rows"),
    ],
)
def test_each_error_says_what_to_do(tmp_path: Path, harm: Callable[[Path], None], advice: str) -> None:
    """Whatever SQLite raises is one line that names the file and what to do about it."""
    path = tmp_path / "some.sqlite3"
    with pytest.raises(Fatal) as told, naming_the_database(path, made_from="the rows"):
        harm(path)
    assert str(told.value).startswith(f"the database {path} cannot be used (")
    assert advice in str(told.value)
    assert "\n" not in str(told.value)
