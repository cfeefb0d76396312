"""Write examples and pairs as training files: the run's own ``dataset/``, and each format of `jobs.tuning.exporters`.

Each file is written under a temporary name, synced and renamed, so it is complete or absent.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import IO, TypeVar

from engine.files import naming_the_disk, sync_folder, write_atomic
from jobs.records import Example, Pair
from jobs.tuning.exporters import load_exporter
from jobs.tuning.formats.query_response import write_query_response
from jobs.tuning.shuffled import SIDES, shuffled

__all__ = ["export", "write_dataset"]

R = TypeVar("R", Example, Pair)
Write = Callable[[Iterable[R], IO[bytes]], None]


def write_dataset(
    folder: Path, examples: Iterable[Example], pairs: Iterable[Pair], *, system_prompt: str, seed: int
) -> Mapping[str, int]:
    """Write ``train.jsonl`` and ``val.jsonl`` (the format "openai"), ``qa_pairs_train.json`` and ``qa_pairs_val.json``
    (byte for byte what LlamaIndex's ``QueryResponseDataset.save_json`` writes) into `folder`.

    Each row goes to the file of its `split`; a side without rows has no file. Returns the number of rows by file name,
    0 for a file that is absent. Raises `Fatal` for a disk error, and for a row whose split is neither train nor val.
    """
    openai = load_exporter("openai")
    chat = {side: folder / f"{side}{openai.suffix}" for side in SIDES}
    plain = {side: folder / f"qa_pairs_{side}.json" for side in SIDES}
    return {
        **_write(examples, Example, chat, lambda rows, file: openai.write(rows, file, system_prompt), seed),
        **_write(pairs, Pair, plain, lambda rows, file: write_query_response(rows, file, _question), seed),
    }


def export(format: str, examples: Iterable[Example], path: Path, *, system_prompt: str, seed: int) -> Mapping[str, int]:
    """Write `examples` in one of the formats of `jobs.tuning.exporters`; returns the number of rows by file name.

    A `path` without a suffix (or an existing folder) gets one file per side, such as ``train.jsonl`` and ``val.jsonl``,
    and the further files that the trainer needs. A `path` with a suffix is one file with the training side only, so
    validation rows never get into a training file. A side without rows has no file and counts 0. Rows have the same
    order as in `write_dataset`.

    Raises `BadInput` for an unknown format, `Fatal` for a disk error.
    """
    exporter = load_exporter(format)
    is_folder = path.is_dir() or not path.suffix
    files = {side: path / f"{side}{exporter.suffix}" for side in SIDES} if is_folder else {"train": path}
    counts = _write(examples, Example, files, lambda rows, file: exporter.write(rows, file, system_prompt), seed)
    if is_folder:
        there = {side: file.name for side, file in files.items() if counts[file.name]}
        with naming_the_disk(path):
            for name, content in exporter.beside(there, path).items():
                write_atomic(path / name, content)
    return counts


def _question(pair: Pair) -> str:
    return pair.question


def _write(
    records: Iterable[R], kind: type[R], files: Mapping[str, Path], write: Write[R], seed: int
) -> Mapping[str, int]:
    """Write `records` in seeded order to the file of their side. A side without a file is skipped."""
    counts = {path.name: 0 for path in files.values()}
    folder = next(iter(files.values())).parent
    with naming_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _whole(files.values()) as open_file, contextlib.closing(shuffled(records, kind, seed, folder)) as ordered:
            for side, rows in groupby(ordered, key=lambda record: record.split):
                if path := files.get(side):
                    write(_counted(rows, counts, path.name), open_file(path))
    return counts


def _counted(rows: Iterable[R], counts: dict[str, int], name: str) -> Iterator[R]:
    for row in rows:
        counts[name] += 1
        yield row


@contextlib.contextmanager
def _whole(paths: Iterable[Path]) -> Iterator[Callable[[Path], IO[bytes]]]:
    """Open files under temporary names; rename them when all are complete and synced. An error leaves no file behind.

    A file of `paths` that is not opened is deleted, because it has no rows any more.
    """
    opened: dict[Path, IO[bytes]] = {}
    with contextlib.ExitStack() as stack:

        def open_file(path: Path) -> IO[bytes]:
            temporary = path.with_name(f"{path.name}.tmp")
            stack.callback(temporary.unlink, missing_ok=True)
            opened[path] = stack.enter_context(temporary.open("wb"))
            return opened[path]

        yield open_file
        for file in opened.values():
            file.flush()
            os.fsync(file.fileno())
        for path in paths:
            if path in opened:
                Path(opened[path].name).replace(path)
            else:
                path.unlink(missing_ok=True)
            sync_folder(path.parent)
