"""Papers that harm whoever reads them, and the reader of them in a worker process.

No file is known that still makes MuPDF crash, hang or eat memory. So the harm is done by this module, which stands in a
worker before `jobs.parsing.pdf`; the processes, the limits and all that is done about it are the real ones.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from jobs.parsing import parse, pdf
from jobs.parsing.extracted import Extracted
from jobs.parsing.parsers import Options

__all__ = ["HARM", "INITIALIZER", "write_papers"]

INITIALIZER = f"{__name__}:warm_up"


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _loop() -> None:
    while True:
        pass


def _allocate() -> None:
    ctypes.memset(ctypes.create_string_buffer(8 << 30), 1, 8 << 30)


HARM = {"killed": _be_killed, "endless": _loop, "greedy": _allocate}


def write_papers(folder: Path) -> None:
    """One file for each kind of harm, named after it."""
    for name in HARM:
        (folder / f"{name}.pdf").write_bytes(f"%PDF-1.7 {name}".encode())


def warm_up() -> None:
    """The initializer of a worker in which such papers do their harm."""
    parse.warm_up()
    read = pdf.read

    def harmed(data: bytes, path: str, options: Options) -> Extracted:
        if harm := HARM.get(Path(path).stem):
            harm()
        return read(data, path, options)

    pdf.read = harmed
