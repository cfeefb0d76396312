"""Write examples and pairs as the training files that others read: chat JSONL, QueryResponseDataset, Parquet and more.

Rows come out in the order of ``hash(seed, id)``: a shuffle that depends on nothing but the rows and the seed, so that
two machines, or two runs that were killed at different times, write the same bytes. It is an external sort: one run
of rows is in memory, the others lie sorted in temporary files beside the result, so memory stays flat.

Each file is written under a temporary name, synced and renamed: it is whole or not there.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from engine.errors import BadInput, Fatal
from engine.files import naming_the_disk, sync_folder
from engine.records import encode, make_id
from jobs.records import Example, Pair

__all__ = ["FORMATS", "chat_line", "check_chat_line", "export", "write_dataset"]

FORMATS = ("alpaca", "openai", "parquet", "query_response", "sharegpt")

MAX_LINE_BYTES = 1 << 20  # more than the longest context that OpenAI trains on (65,536 tokens) can hold
RUN_BYTES = 64 << 20  # rows sorted in memory at a time
MAX_RUNS = 128  # open temporary files; then they are merged into one
ROW_GROUP = 1024  # Parquet rows written at a time

_KEY = 32  # the length of make_id
_LINE_BREAKS = "\x85\u2028\u2029"
_ROLES = ("assistant", "developer", "system", "tool", "user")
_SUFFIXES = {"parquet": ".parquet", "query_response": ".json"}

R = TypeVar("R", Example, Pair)
Add = Callable[[R], object]
Sink = Callable[[IO[bytes]], contextlib.AbstractContextManager[Add[R]]]


def write_dataset(
    folder: Path, examples: Iterable[Example], pairs: Iterable[Pair], *, system_prompt: str, seed: int
) -> Mapping[str, int]:
    """Write ``train.jsonl`` and ``val.jsonl`` (see `chat_line`), ``qa_pairs_train.json`` and ``qa_pairs_val.json``
    (byte for byte what LlamaIndex's ``QueryResponseDataset.save_json`` writes) into `folder`.

    Each row goes to its own `split`; a side without rows still gets a valid file. Returns the rows in each file, by
    its name. Raises `Fatal` when the disk refuses or a row has another split than train and val.
    """
    chat = {side: folder / f"{side}.jsonl" for side in ("train", "val")}
    plain = {side: folder / f"qa_pairs_{side}.json" for side in ("train", "val")}
    return {
        **_write(examples, Example, chat, _lines(lambda row: chat_line(row, system_prompt)), seed),
        **_write(pairs, Pair, plain, _query_response(lambda pair: pair.question), seed),
    }


def export(format: str, examples: Iterable[Example], path: Path, *, system_prompt: str, seed: int) -> Mapping[str, int]:
    """Write `examples` in one of `FORMATS`; returns the rows in each file, by its name.

    A `path` without a suffix (or an existing folder) gets one file a side: ``train.jsonl`` and ``val.jsonl``, or
    ``.json``, ``.parquet``. A `path` with a suffix is one file, and holds the training side only: validation rows
    never slip into a training file. Rows stand in the same order as in `write_dataset`.

    ``openai``: as ``train.jsonl``. ``sharegpt``: ``conversations`` of from/value. ``alpaca``: instruction, input
    (empty), output, and system. These three are one JSON object a line. ``query_response``: LlamaIndex's
    QueryResponseDataset whose queries are the retrieval-augmented prompts, the notebook's ``qa_pairs_ra.json``.
    ``parquet``: the fields of the record, and ``messages`` as trainers take them.

    Raises `BadInput` for an unknown format, `Fatal` when the disk refuses.
    """
    if format not in FORMATS:
        raise BadInput(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    files = {"train": path}
    if path.is_dir() or not path.suffix:
        suffix = _SUFFIXES.get(format, ".jsonl")
        files = {side: path / f"{side}{suffix}" for side in ("train", "val")}
    return _write(examples, Example, files, _sink(format, system_prompt), seed)


def chat_line(example: Example, system_prompt: str) -> bytes:
    """One line of OpenAI's chat format: system, user (the retrieval-augmented prompt), assistant (the answer).

    ``{title}`` in `system_prompt` becomes the paper's title, all other braces stay; an empty `system_prompt` leaves
    the system message out, as an empty one would be refused.
    """
    return _json_line({"messages": _messages(example, system_prompt)})


def check_chat_line(line: bytes) -> None:
    """Raise `BadInput`, saying why, for a line that OpenAI's fine-tuning would refuse.

    Held: UTF-8 without a byte order mark, one JSON object, at most 1 MiB, only ``messages``, known roles, text in
    every message, the last one from the assistant.
    Source: https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep and the API reference.
    """
    reason = _refusal(line)
    if reason:
        raise BadInput(f"not a line of a chat training file: {reason}")


def _refusal(line: bytes) -> str | None:
    if len(line) > MAX_LINE_BYTES:
        return f"{len(line)} bytes, more than {MAX_LINE_BYTES}"
    try:
        row = json.loads(line.decode("utf-8"))
    except ValueError as error:
        return f"not JSON in UTF-8: {error}"
    if not isinstance(row, dict) or set(row) != {"messages"}:
        return "not an object that holds messages and nothing else"
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        return "no messages"
    for message in messages:
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            return "a message is not a role and a content"
        if message["role"] not in _ROLES:
            return f"the role {message['role']!r} is none of {', '.join(_ROLES)}"
        if not isinstance(message["content"], str) or not message["content"].strip():
            return f"the {message['role']} message holds no text"
    if messages[-1]["role"] != "assistant":
        return "the last message is not from the assistant"
    return None


def _messages(example: Example, system_prompt: str) -> list[dict[str, str]]:
    system = system_prompt.replace("{title}", example.title)
    turns = {"system": system, "user": example.prompt, "assistant": example.answer}
    return [{"role": role, "content": content} for role, content in turns.items() if content or role != "system"]


def _write(
    records: Iterable[R], kind: type[R], files: Mapping[str, Path], sink: Sink[R], seed: int
) -> Mapping[str, int]:
    """Deal `records`, in seeded order, to the file of their side; a side without a file is left out."""
    counts = dict.fromkeys(files, 0)
    folder = next(iter(files.values())).parent
    with naming_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _whole(list(files.values())) as opened, contextlib.ExitStack() as stack:
            adds = {side: stack.enter_context(sink(file)) for side, file in zip(files, opened, strict=True)}
            ordered = stack.enter_context(contextlib.closing(_in_order(records, kind, seed, folder)))
            for record in ordered:
                if record.split not in ("train", "val"):
                    raise Fatal(f"{record.id} has the split {record.split!r}, neither train nor val; redo its dataset")
                if add := adds.get(record.split):
                    add(record)
                    counts[record.split] += 1
    return {path.name: counts[side] for side, path in files.items()}


@contextlib.contextmanager
def _whole(paths: Sequence[Path]) -> Iterator[list[IO[bytes]]]:
    """Files that get their names when all of them are complete and synced; on an error nothing is left behind."""
    with contextlib.ExitStack() as stack:
        files: list[IO[bytes]] = []
        for path in paths:
            temporary = path.with_name(f"{path.name}.tmp")
            stack.callback(temporary.unlink, missing_ok=True)
            files.append(stack.enter_context(temporary.open("wb")))
        yield files
        for file in files:
            file.flush()
            os.fsync(file.fileno())
        for file, path in zip(files, paths, strict=True):
            Path(file.name).replace(path)
        sync_folder(paths[0].parent)


def _in_order(records: Iterable[R], kind: type[R], seed: int, folder: Path) -> Generator[R, None, None]:
    """All `records` in the order of ``hash(seed, id)``, through sorted runs in temporary files in `folder`."""
    decoder = msgspec.json.Decoder(kind)
    with contextlib.ExitStack() as stack:
        runs: list[IO[bytes]] = []
        batch: list[bytes] = []
        size = 0
        for record in records:
            line = make_id(seed, record.id).encode() + encode(record)
            batch.append(line)
            size += len(line)
            if size >= RUN_BYTES:
                runs.append(stack.enter_context(_spill(sorted(batch), folder)))
                batch.clear()
                size = 0
            if len(runs) == MAX_RUNS:
                merged = stack.enter_context(_spill(heapq.merge(*runs), folder))
                for run in runs:
                    run.close()
                runs = [merged]
        batch.sort()
        for line in heapq.merge(*runs, batch):
            yield decoder.decode(line[_KEY:])


def _spill(lines: Iterable[bytes], folder: Path) -> IO[bytes]:
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller's exit stack closes it
    file.writelines(lines)
    file.seek(0)
    return file


def _sink(format: str, system_prompt: str) -> Sink[Example]:
    match format:
        case "parquet":
            return _parquet(system_prompt)
        case "query_response":
            return _query_response(lambda example: example.prompt)
        case "sharegpt":
            return _lines(lambda example: _sharegpt_line(example, system_prompt))
        case "alpaca":
            return _lines(lambda example: _alpaca_line(example, system_prompt))
        case _:
            return _lines(lambda example: chat_line(example, system_prompt))


def _sharegpt_line(example: Example, system_prompt: str) -> bytes:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = [{"from": names[turn["role"]], "value": turn["content"]} for turn in _messages(example, system_prompt)]
    return _json_line({"conversations": turns})


def _alpaca_line(example: Example, system_prompt: str) -> bytes:
    row = {"instruction": example.prompt, "input": "", "output": example.answer}
    return _json_line({**row, "system": system_prompt.replace("{title}", example.title)})


def _json_line(row: Mapping[str, Any]) -> bytes:
    """UTF-8, with escapes for what is a line break to some readers (``str.splitlines``) though not to JSON."""
    line = msgspec.json.encode(row)
    for character in _LINE_BREAKS:
        line = line.replace(character.encode(), b"\\u%04x" % ord(character))
    return line + b"\n"


def _lines(line: Callable[[R], bytes]) -> Sink[R]:
    @contextlib.contextmanager
    def sink(file: IO[bytes]) -> Iterator[Add[R]]:
        yield lambda row: file.write(line(row))

    return sink


def _query_response(query: Callable[[R], str]) -> Sink[R]:
    """``json.dump({"queries": {id: query}, "responses": {id: answer}}, indent=4)``, never whole in memory:
    the responses wait in a temporary file until the last query is written."""

    @contextlib.contextmanager
    def sink(file: IO[bytes]) -> Iterator[Add[R]]:
        with tempfile.TemporaryFile(dir=Path(file.name).parent) as responses:
            separator = b"\n"

            def add(row: R) -> None:
                nonlocal separator
                file.write(separator + _entry(row.id, query(row)))
                responses.write(separator + _entry(row.id, row.answer))
                separator = b",\n"

            file.write(b'{\n    "queries": {')
            yield add
            close = b"}" if separator == b"\n" else b"\n    }"
            file.write(close + b',\n    "responses": {')
            responses.seek(0)
            shutil.copyfileobj(responses, file)
            file.write(close + b"\n}")

    return sink


def _entry(key: str, value: str) -> bytes:
    return f"{' ' * 8}{json.dumps(key)}: {json.dumps(value)}".encode("ascii")


def _parquet(system_prompt: str) -> Sink[Example]:
    @contextlib.contextmanager
    def sink(file: IO[bytes]) -> Iterator[Add[Example]]:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        schema = _schema(pyarrow)
        rows: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def add(example: Example) -> None:
            rows.append(msgspec.to_builtins(example) | {"messages": _messages(example, system_prompt)})
            if len(rows) == ROW_GROUP:
                flush()

        with ParquetWriter(file, schema, compression="zstd") as writer:
            yield add
            if rows:
                flush()

    return sink


def _schema(pyarrow: Any) -> Any:
    text = pyarrow.string()
    context = pyarrow.struct({"chunk_id": text, "rank": pyarrow.int32(), "score": pyarrow.float64(), "role": text})
    message = pyarrow.struct({"role": text, "content": text})
    columns = dict.fromkeys(Example.__struct_fields__, text)
    listed = {"contexts": pyarrow.list_(context), "messages": pyarrow.list_(message)}
    return pyarrow.schema(columns | listed | {"abstains": pyarrow.bool_()})
