"""The card of ``dataset/``: its files and their types, how many rows they have, how they were made, and a licence to fill in.

A licence that a user fills in, and text below our last line, stay there after the next export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.files import naming_the_disk, write_atomic
from jobs.run.dataset_card import Tree, card

__all__ = ["Making", "write_card"]

_SPLITS = {"train.jsonl": "train", "val.jsonl": "validation"}
_MESSAGE: list[Tree] = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)
_YOURS = "<!-- What follows this line is yours: an export keeps it. -->\n"
_LICENCE = re.compile(r"^license: *(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How the rows were made: names of models, and what was configured, as sentences for a reader."""

    papers: int
    chunks: int
    pairs: int
    kept: int
    generator: str
    embedding: str
    recipe: str
    split_by: str
    contexts: str


def write_card(folder: Path, rows: Mapping[str, int], making: Making) -> None:
    """Write ``README.md`` into `folder`, which holds the files named in `rows`, each with its number of rows.
    Blocks."""
    path = folder / "README.md"
    with naming_the_disk(path):
        before = path.read_text("utf-8", errors="replace") if path.exists() else ""
        write_atomic(path, _card(rows, making, before))


def _card(rows: Mapping[str, int], making: Making, before: str) -> bytes:
    header, _, _ = before.removeprefix("---\n").partition("\n---\n")
    licence = _LICENCE.search(header)
    yours = (
        before.partition(_YOURS)[2] or "\n## Licence\n\nTo be filled in, here and as `license` in the first lines.\n"
    )
    return card(_header(rows, licence[1].strip().strip('"') if licence else "unknown"), _text(rows, making) + yours)


def _header(rows: Mapping[str, int], licence: str) -> Mapping[str, Tree]:
    files: list[Tree] = [{"split": split, "path": name} for name, split in _SPLITS.items() if rows.get(name)]
    total = sum(rows.get(name, 0) for name in _SPLITS)
    header: dict[str, Tree] = {
        "license": licence,
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["retrieval-augmented-generation", "synthetic", "gristmill"],
        "size_categories": [next((size for bound, size in _SIZES if total < bound), "100M<n<1B")],
    }
    if files:
        header["configs"] = [{"config_name": "default", "data_files": files}]
        header["dataset_info"] = {"config_name": "default", "features": [{"name": "messages", "list": _MESSAGE}]}
    return header


def _text(rows: Mapping[str, int], making: Making) -> str:
    table = "".join(f"| `{name}` | {_WHAT[name]} | {count:,} |\n" for name, count in rows.items() if count)
    return (
        "\n# Questions and answers on papers, with retrieved contexts\n\n"
        '`datasets.load_dataset("THIS FOLDER")` gives the chat files: `messages` of system, user and assistant.\n\n'
        "| file | what | rows |\n|---|---|---|\n"
        f"{table}\n"
        "## How it was made\n\n"
        f"- Papers: {making.papers:,}, cut into {making.chunks:,} chunks.\n"
        f"- Questions and answers: {making.pairs:,}, written by {making.generator} from one chunk each"
        f" (recipe `{making.recipe}`); {making.kept:,} of them are kept.\n"
        f"- Contexts: {making.contexts}, found with the embeddings of {making.embedding}.\n"
        f"- Training and validation are separated by {making.split_by}.\n"
        "- The texts of answers are a model's: check them before you rely on them.\n\n"
        f"{_YOURS}"
    )


_WHAT = {
    "train.jsonl": "chat, training",
    "val.jsonl": "chat, validation",
    "qa_pairs_train.json": "question and answer without contexts (LlamaIndex's QueryResponseDataset), training",
    "qa_pairs_val.json": "the same, validation",
}
