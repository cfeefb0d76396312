"""What an export format is, and the table of formats. A format is loaded when its name is chosen.

A new format is a module with one value, ``exporter``, and one line of `EXPORTERS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from engine.errors import BadInput

if TYPE_CHECKING:
    from jobs.records import Example

__all__ = ["EXPORTERS", "Exporter", "load_exporter"]

EXPORTERS: dict[str, str] = {
    "alpaca": "jobs.tuning.formats.alpaca",
    "axolotl": "jobs.tuning.formats.axolotl",
    "llama_factory": "jobs.tuning.formats.llama_factory",
    "openai": "jobs.tuning.formats.openai",
    "parquet": "jobs.tuning.formats.parquet",
    "query_response": "jobs.tuning.formats.query_response",
    "sharegpt": "jobs.tuning.formats.sharegpt",
    "trl_conversational": "jobs.tuning.formats.trl_conversational",
    "trl_prompt_completion": "jobs.tuning.formats.trl_prompt_completion",
}
"""The module of each format, by the name that ``gristmill export --format`` takes."""


class Exporter(Protocol):
    """Writes examples as files of one format. ``suffix`` is the suffix of its files, such as ".jsonl"."""

    @property
    def suffix(self) -> str: ...

    def write(self, examples: Iterable[Example], file: IO[bytes], system_prompt: str) -> None:
        """Write all of `examples` to `file` in their order. Memory must not grow with their number.

        ``{title}`` in `system_prompt` stands for the title of the example's paper. A disk error raises `OSError`.
        """

    def beside(self, files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
        """The contents of further files that the trainer needs in `folder`, by name; usually none.

        `files` gives the name of the file of each side that has rows ("train", "val").
        """


def load_exporter(name: str) -> Exporter:
    """The exporter named `name`. Raises `BadInput` for a name that is not in the table."""
    if name not in EXPORTERS:
        raise BadInput(f"unknown format {name!r}; choose one of {', '.join(sorted(EXPORTERS))}")
    exporter: Exporter = import_module(EXPORTERS[name]).exporter
    return exporter
