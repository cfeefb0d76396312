"""Reading pairs of question and answer from a file: LlamaIndex's QueryResponseDataset, JSON lines, or one of our
exports.

A line is an object with ``question`` (or ``query``), ``answer`` (or ``response``, ``reference``), and optionally
``contexts``, a list of texts (or ``context``, one text), and ``paper``, a name that pairs of one source share. Other
fields are ignored. A line that cannot be read yields a `Permanent` with the reason.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import BadInput, Permanent
from jobs.generation.exported_rows import as_fields

__all__ = ["GivenPair", "check_pairs", "read_pairs"]

_LINES = {".jsonl", ".ndjson"}


class GivenPair(msgspec.Struct, frozen=True, kw_only=True):
    """A question, its reference answer, and its contexts; without any, the question is asked alone."""

    question: str
    answer: str
    contexts: tuple[str, ...] = ()
    paper: str = ""


def read_pairs(path: Path) -> Generator[tuple[str, GivenPair | Permanent]]:
    """Each pair of the file with its place ("line 7"); blocks. Raises `BadInput` for a file of another kind."""
    try:
        suffix = path.suffix.lower()
        read = _from_parquet if suffix == ".parquet" else _from_lines if suffix in _LINES else _from_document
        yield from read(path)
    except OSError as error:
        raise BadInput(f"cannot read the pairs in {path}: {error.strerror}") from error


def check_pairs(path: Path) -> None:
    """Raise `BadInput` unless the file holds at least one readable pair; blocks."""
    first = ""
    for place, pair in read_pairs(path):
        if isinstance(pair, GivenPair):
            return
        first = first or f": {place}: {pair}"
    raise BadInput(f"{path} holds no pair of question and answer that can be read{first}")


def _from_lines(path: Path) -> Iterator[tuple[str, GivenPair | Permanent]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            if line.strip():
                yield f"line {number}", _decoded(line)


def _from_document(path: Path) -> Iterator[tuple[str, GivenPair | Permanent]]:
    try:
        document = msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not JSON ({error}); a file of JSON lines is to be named .jsonl") from error
    match document:
        case {"queries": dict(queries), "responses": dict(responses)}:
            for id_ in queries | responses:
                yield f"query {id_}", _pair({"query": queries.get(id_), "response": responses.get(id_)})
        case list():
            for number, fields in enumerate(document, start=1):
                yield f"item {number}", _pair(fields)
        case _:
            raise BadInput(f"{path} is no QueryResponseDataset (queries and responses) and no list of pairs")


def _from_parquet(path: Path) -> Iterator[tuple[str, GivenPair | Permanent]]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        number = 0
        for batch in ParquetFile(path).iter_batches():
            for fields in batch.to_pylist():
                number += 1
                yield f"row {number}", _pair(fields)
    except pyarrow.ArrowException as error:
        raise BadInput(f"{path} is no Parquet file that can be read: {error}") from error


def _decoded(line: bytes) -> GivenPair | Permanent:
    try:
        return _pair(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Permanent(f"it is not JSON: {error}", kind="not_json")


def _pair(fields: Any) -> GivenPair | Permanent:
    if not isinstance(fields, dict):
        return Permanent("it is no JSON object", kind="not_json")
    fields = as_fields(fields)
    question, answer = _text(fields, "question", "query"), _text(fields, "answer", "response", "reference")
    contexts = _contexts(fields)
    if not question:
        return Permanent("it has no text as question or query", kind="no_question")
    if not answer:
        return Permanent("it has no text as answer, response or reference", kind="no_answer")
    if contexts is None:
        return Permanent("its contexts are no list of texts, or its context no text", kind="bad_contexts")
    return GivenPair(question=question, answer=answer, contexts=contexts, paper=_text(fields, "paper"))


def _text(fields: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is a text and not blank; else ""."""
    texts = (fields.get(name) for name in names)
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), "")


def _contexts(fields: Mapping[str, Any]) -> tuple[str, ...] | None:
    found = fields.get("contexts")
    if found is None:
        found = [] if fields.get("context") is None else [fields["context"]]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        return None
    return tuple(text for text in found if text.strip())
