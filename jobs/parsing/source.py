"""The bytes of one paper: a whole file, or one line of a file of many papers."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from jobs.parsing.failures import failed
from jobs.records import Paper

__all__ = ["MAX_BYTES", "Source", "read_source"]

MAX_BYTES = 200 * 2**20
"""The most that is read of one paper."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where to find the bytes. ``offset`` is where the paper's line starts, None where the whole file is the paper;

    ``line`` is the line's number and ``length`` its bytes. ``sha256`` is what the bytes should have, "" where that is not known."""

    path: str
    line: str = ""
    offset: int | None = None
    length: int = 0
    sha256: str = ""

    @property
    def label(self) -> str:
        """What to call the paper where it has no title: by the name of its file, and the number of its line."""
        return f"{Path(self.path).stem} {self.line}".strip()

    @classmethod
    def of(cls, paper: Paper) -> Source:
        """That of `paper`; its path names the line, where it is one, after a ``#``."""
        path, line = paper.path, ""
        if paper.offset is not None:
            path, _, line = paper.path.rpartition("#")
        return cls(path=path, line=line, offset=paper.offset, length=paper.bytes, sha256=paper.sha256)


def read_source(source: Source, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes, read once, so that what is checked is what is parsed. Raises `Permanent` with a kind of the list."""
    path = Path(source.path)
    try:
        if path.exists() and not path.is_file():
            raise failed("unreadable", "not a regular file")  # a pipe would be waited for
        with path.open("rb") as file:
            file.seek(source.offset or 0)
            most = max_bytes + 1
            data = file.read(most if source.offset is None else min(source.length, most))
    except OSError as error:
        raise failed("unreadable", error.strerror or type(error).__name__) from error
    if not data:
        raise failed("empty_file")
    if len(data) > max_bytes:
        raise failed("too_large", f"more than {max_bytes:,} bytes")
    if source.sha256 and sha256(data).hexdigest() != source.sha256:
        raise failed("changed")
    return data
