"""LlamaIndex's QueryResponseDataset, byte for byte as its ``save_json`` writes it.

As an export its queries are the retrieval-augmented prompts: the notebook's ``qa_pairs_ra.json``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TypeVar

from jobs.records import Example, Pair

__all__ = ["exporter", "write_query_response"]

R = TypeVar("R", Example, Pair)


class _QueryResponse:
    suffix = ".json"

    def write(self, examples: Iterable[Example], file: IO[bytes], system_prompt: str) -> None:
        write_query_response(examples, file, lambda example: example.prompt)

    def beside(self, files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
        return {}


exporter = _QueryResponse()


def write_query_response(rows: Iterable[R], file: IO[bytes], query: Callable[[R], str]) -> None:
    """``json.dump({"queries": {id: query}, "responses": {id: answer}}, indent=4)``, streamed, so memory is bounded.

    The responses are kept in a temporary file beside `file` until the last query is written.
    """
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as responses:
        separator = b"\n"
        file.write(b'{\n    "queries": {')
        for row in rows:
            file.write(separator + _entry(row.id, query(row)))
            responses.write(separator + _entry(row.id, row.answer))
            separator = b",\n"
        close = b"}" if separator == b"\n" else b"\n    }"
        file.write(close + b',\n    "responses": {')
        responses.seek(0)
        shutil.copyfileobj(responses, file)
        file.write(close + b"\n}")


def _entry(key: str, value: str) -> bytes:
    return f"{' ' * 8}{json.dumps(key)}: {json.dumps(value)}".encode("ascii")
