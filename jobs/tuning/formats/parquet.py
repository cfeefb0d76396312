"""Parquet: the fields of the record, and ``messages`` for trainers, with the types of all columns.

The record's prompt is called ``retrieval_prompt`` here: TRL takes a column ``prompt`` for one half of ``completion``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from jobs.records import Example
from jobs.tuning.chat_file import messages

__all__ = ["PROMPT", "exporter"]

PROMPT = "retrieval_prompt"
"""The column with the text before the answer: the contexts and the question."""

ROW_GROUP = 1024  # rows written at a time


class _Parquet:
    suffix = ".parquet"

    def write(self, examples: Iterable[Example], file: IO[bytes], system_prompt: str) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        schema = _schema(pyarrow)
        rows = (_row(example, system_prompt) for example in examples)
        with ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(rows):
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))

    def beside(self, files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
        return {}


exporter = _Parquet()


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(rows, ROW_GROUP)):
        yield group


def _row(example: Example, system_prompt: str) -> dict[str, Any]:
    fields = msgspec.to_builtins(example)
    fields[PROMPT] = fields.pop("prompt")
    return {**fields, "messages": messages(example, system_prompt)}


def _schema(pyarrow: Any) -> Any:
    text = pyarrow.string()
    context = pyarrow.struct({"chunk_id": text, "rank": pyarrow.int32(), "score": pyarrow.float64(), "role": text})
    message = pyarrow.struct({"role": text, "content": text})
    names = [PROMPT if name == "prompt" else name for name in Example.__struct_fields__]
    listed = {"contexts": pyarrow.list_(context), "messages": pyarrow.list_(message)}
    return pyarrow.schema(dict.fromkeys(names, text) | listed | {"abstains": pyarrow.bool_()})
