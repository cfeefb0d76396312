"""SQLite's errors as `Fatal`: one line that names the file and says what to do, chosen by the error code.

The databases of a run hold nothing that was paid for: each can be deleted and is rebuilt.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from engine.errors import Fatal

__all__ = ["naming_the_database"]


@contextlib.contextmanager
def naming_the_database(path: Path, *, made_from: str) -> Iterator[None]:
    """Raise `Fatal` for SQLite's errors about the database `path`; `made_from` names what it is rebuilt from."""
    try:
        yield
    except sqlite3.Error as error:
        raise Fatal(f"the database {path} cannot be used ({error}); {_advice(error, made_from)}") from error


def _advice(error: sqlite3.Error, made_from: str) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # without what extends it
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return (
                "the disk is full or fails: free some space and run the same command again: nothing committed is lost"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "make its folder writable, or use another --out"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another program has it open: close that and run the same command again"
        case _:
            return f"delete it and run the same command again: it is rebuilt from {made_from}"
