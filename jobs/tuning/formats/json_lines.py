"""Formats with one JSON object per line; they differ in the object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobs.records import Example
from jobs.tuning.chat_file import json_line

__all__ = ["JsonLines"]

Files = Mapping[str, str]


def _nothing(files: Files, folder: Path) -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True, slots=True)
class JsonLines:
    """An `Exporter` that writes ``row(example, system_prompt)`` as one line of JSON; ``more`` is its `beside`."""

    row: Callable[[Example, str], Mapping[str, Any]]
    more: Callable[[Files, Path], Mapping[str, bytes]] = _nothing
    suffix: str = ".jsonl"

    def write(self, examples: Iterable[Example], file: IO[bytes], system_prompt: str) -> None:
        file.writelines(json_line(self.row(example, system_prompt)) for example in examples)

    def beside(self, files: Files, folder: Path) -> Mapping[str, bytes]:
        return self.more(files, folder)
