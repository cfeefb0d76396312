"""Reading a zip file that may be a bomb: nothing is unpacked to disk, and no more than is allowed to memory."""

from __future__ import annotations

import io
import zipfile
import zlib
from types import TracebackType
from typing import Self

from jobs.parsing.failures import failed

__all__ = ["MAX_ENTRIES", "MAX_UNPACKED_BYTES", "Packed"]

MAX_UNPACKED_BYTES = 200 * 2**20
MAX_ENTRIES = 20_000


class Packed:
    """The files in a zip file. Raises `Permanent` of kind "damaged", "encrypted", or "too_large" for a bomb.

    What the file says of its sizes is checked before anything is read, and what is read is counted.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise failed("damaged", f"zip: {error}"[:200]) from error
        entries = self._file.infolist()
        if len(entries) > MAX_ENTRIES:
            raise failed("too_large", f"{len(entries):,} files in it")
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
            raise failed("too_large", f"more than {MAX_UNPACKED_BYTES:,} bytes unpacked")
        if any(entry.flag_bits & 1 for entry in entries):
            raise failed("encrypted")
        self.names = frozenset(entry.filename for entry in entries)
        self._left = MAX_UNPACKED_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str) -> bytes:
        """The bytes of one file; raises `Permanent` of kind "damaged" where it is not there."""
        try:
            with self._file.open(name) as file:
                data = file.read(self._left + 1)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise failed("damaged", f"zip: {error}"[:200]) from error
        self._left -= len(data)
        if self._left < 0:
            raise failed("too_large", f"more than {MAX_UNPACKED_BYTES:,} bytes unpacked")
        return data
