"""Cards: README.md files from which `datasets` and the Hugging Face Hub learn a folder's files and their types.

A card starts with YAML between two lines of "---" and continues in Markdown. The types matter: if a column of the first
file of JSON lines is all null, `datasets` infers a column of nulls and refuses the next file.
Source: https://huggingface.co/docs/hub/datasets-manual-configuration.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.files import naming_the_disk, write_atomic
from engine.records import Record
from jobs.records import Review
from jobs.registry import REVIEWS, ROWS

__all__ = ["card", "features", "write_run_card"]

Tree = str | Mapping[str, "Tree"] | Sequence["Tree"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = {"false", "n", "no", "null", "off", "on", "true", "y", "yes"}
"""Strings that YAML reads as another type."""

_TITLE = "# A run of gristmill"

_SIMPLE = {str: "string", int: "int64", float: "float64", bool: "bool"}


def card(header: Mapping[str, Tree], text: str) -> bytes:
    """A card: `header` as YAML, then `text`."""
    lines = "\n".join(_yaml(header))
    return f"---\n{lines}\n---\n{text}".encode()


def features(row: type[msgspec.Struct]) -> list[dict[str, Tree]]:
    """The columns of rows of this type, as the ``features`` of a card; a free mapping is "json"."""
    hints = typing.get_type_hints(row)
    return [{"name": field.encode_name, **_feature(hints[field.name])} for field in msgspec.structs.fields(row)]


def write_run_card(folder: Path) -> None:
    """Write the card of a run's folder, by which ``load_dataset(RUN, "verdicts")`` has all rows of a dataset; blocks.

    A README.md that somebody else has written there stays.
    """
    rows: dict[str, type[Record]] = {**ROWS, REVIEWS: Review}
    there = [name for name in rows if any((folder / name).glob("[0-9]*[0-9].jsonl"))]
    header: dict[str, Tree] = {
        "configs": [{"config_name": name, "data_files": [_files(name)]} for name in there],
        "dataset_info": [{"config_name": name, "features": features(rows[name])} for name in there],
    }
    names = "".join(f"- `{name}`\n" for name in there)
    text = (
        f"\n{_TITLE}\n\n"
        "All rows of one dataset, with their types: "
        '`datasets.load_dataset("THIS FOLDER", "NAME", split="train")`. The names are\n\n'
        f"{names}\n"
        'The training data has a card of its own: `datasets.load_dataset("THIS FOLDER/dataset")`.\n'
    )
    path = folder / "README.md"
    with naming_the_disk(path):
        if not path.exists() or _TITLE in path.read_text("utf-8", errors="replace"):
            write_atomic(path, card(header, text))


def _files(name: str) -> dict[str, Tree]:
    return {"split": "train", "path": f"{name}/[0-9]*[0-9].jsonl"}


def _feature(kind: Any) -> dict[str, Tree]:
    """The type of one column; an optional value has the type of the value."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (kind,) = [part for part in typing.get_args(kind) if part is not type(None)]
    if kind in _SIMPLE:
        return {"dtype": _SIMPLE[kind]}
    if typing.get_origin(kind) in (list, tuple):
        element = _feature(typing.get_args(kind)[0])
        return {"list": element.get("dtype") or element["struct"]}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {"struct": features(kind)}
    return {"dtype": "json"}


def _yaml(tree: Tree, indent: str = "") -> Iterator[str]:
    """Block YAML of mappings, lists and strings; a string that is not plain is quoted as in JSON."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if isinstance(value, str):
                yield f"{indent}{key}: {_scalar(value)}"
            elif not value:
                yield f"{indent}{key}: []"
            else:
                yield f"{indent}{key}:"
                yield from _yaml(value, indent if isinstance(value, list) else f"{indent}  ")
        return
    for item in tree:
        if isinstance(item, str):
            yield f"{indent}- {_scalar(item)}"
        else:
            first, *others = _yaml(item, f"{indent}  ")
            yield f"{indent}- {first.removeprefix(f'{indent}  ')}"
            yield from others


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
