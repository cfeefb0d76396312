"""What a run has said of itself in its log, read on from where the last look ended; a rotated log is read from its start."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

__all__ = ["LogTail", "Said"]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log: ``event`` is its dotted name, and the other fields are those of some events."""

    time: datetime
    event: str
    job: str = ""
    kind: str = ""
    reason: str = ""
    text: str = ""
    wait_s: float = 0.0
    inputs: int = 0
    found: bool = False
    status: str = ""
    message: str = ""
    step: int = 0
    steps: int = 0
    train: float = 0.0
    left_s: float = 0.0

    @property
    def at(self) -> float:
        """When it was said, in seconds since 1970."""
        return self.time.timestamp()


class LogTail:
    """The log at `path`. What was rotated out of it last is read first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._begun = False

    def further(self) -> list[Said]:
        """The lines since the last look, whole ones only; blocks."""
        earlier = b""
        if not self._begun:
            self._begun = True
            earlier = _read(self._path.with_name(f"{self._path.name}.1"), 0)
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return _said(earlier)
        if inode != self._inode:
            self._inode, self._offset = inode, 0
        data = _read(self._path, self._offset)
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return _said(earlier + data)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _said(data: bytes) -> list[Said]:
    decoder = msgspec.json.Decoder(Said)
    found = []
    for line in data.splitlines():
        try:
            found.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):  # a torn line, or one that gristmill did not write
            continue
    return found
