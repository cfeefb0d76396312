"""Files that survive a crash: complete or absent, and synced before anything relies on them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from engine.errors import BadInput, Fatal

__all__ = [
    "append_synced",
    "cut_off",
    "file_digest",
    "lock",
    "make_folder",
    "naming_the_disk",
    "sync_folder",
    "write_atomic",
]


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync, rename to `path`, fsync the folder."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def append_synced(file: FileIO, data: bytes) -> None:
    """Write `data` to an unbuffered file and sync it; a write may take a part of it only."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    if data:
        os.fdatasync(file.fileno())


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cut_off(path: Path, size: int) -> None:
    """Shorten the file at `path` to `size` bytes and sync it; one that is not there, or that long, is left alone."""
    if path.exists() and path.stat().st_size != size:
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a rename is durable only after its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, and make their names durable."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lock `path` for this process. Raises `BadInput` at once when another process holds the lock.

    The kernel releases the lock when the process ends, so a killed process leaves no lock. While it is held the file
    holds the number of the process.
    """
    with contextlib.ExitStack() as held:
        with naming_the_disk(path):
            file = held.enter_context(path.open("a+b", buffering=0))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(32).decode("ascii", "replace").strip()
                raise BadInput(
                    f"another process ({holder or 'of unknown number'}) is working in {path.parent}; "
                    "wait for it, stop it, or use another --out"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        held.callback(_forget_holder, file)
        yield


def _forget_holder(file: FileIO) -> None:
    with contextlib.suppress(OSError):
        file.truncate(0)


@contextlib.contextmanager
def naming_the_disk(path: Path) -> Iterator[None]:
    """Raise `Fatal`, whose one line says what to do, for an `OSError` inside the block; `path` is the file it names."""
    try:
        yield
    except OSError as error:
        raise Fatal(f"cannot write {path}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full; free some space and run the same command again: nothing committed is lost"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "no permission to write there; make the folder writable or use another --out"
        case errno.EMFILE | errno.ENFILE:
            return "too many open files; raise the limit (ulimit -n) and run the same command again"
        case _:
            return f"{error.strerror or error}; fix this and run the same command again"
