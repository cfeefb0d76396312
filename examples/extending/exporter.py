"""An export format of one's own: question and answer as tab-separated values, as flash-card programs read them.

To have it as ``gristmill export RUN --format tsv --to FOLDER``, put this file into ``jobs/tuning/formats/`` as ``tsv.py``
and add one line to `jobs.tuning.exporters.EXPORTERS`: ``"tsv": "jobs.tuning.formats.tsv"``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from jobs.records import Example

__all__ = ["exporter"]


class _Tsv:
    suffix = ".tsv"

    def write(self, examples: Iterable[Example], file: IO[bytes], system_prompt: str) -> None:
        """One line an example. A format of JSON lines needs no class: see `jobs.tuning.formats.json_lines`."""
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text, dialect="excel-tab").writerows((example.question, example.answer) for example in examples)
        text.detach()  # what opened the file closes it

    def beside(self, files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
        """This format needs no other file in the folder."""
        return {}


exporter = _Tsv()
