from __future__ import annotations

from pathlib import Path

import msgspec

from engine.datasets import Dataset
from engine.requests import Usage
from engine.shards import Entry, Failure
from jobs.records import Chunk
from jobs.serve.journals import Journals


def append(path: Path, *entries: Entry) -> None:
    with path.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))


def entry(id_: str, *, rows: int = 1, kind: str = "") -> Entry:
    error = Failure(kind=kind, reason="so it is") if kind else None
    return Entry(id=id_, position=0, rows=rows, end=0, usage=Usage(requests=1, cost_usd=0.5), error=error)


def test_what_is_committed_counts_once(tmp_path: Path) -> None:
    """Each look adds what was committed since; the torn end and the mark of a decided shard count nothing."""
    dataset = Dataset(tmp_path, Chunk)
    journals = Journals(dataset)
    path = dataset.shard(3).checkpoint
    append(path, entry("a", rows=2), entry("b", rows=0, kind="filtered"))
    first = journals.tally([3])
    assert (first.inputs, first.rows, first.failed, first.usage.cost_usd) == (2, 2, {"filtered": 1}, 1.0)
    append(path, entry("c"))
    with path.open("ab") as file:
        file.write(b'{"seal":{}}\n{"id":"d","posi')
    second = journals.tally([3])
    assert (second.inputs, second.rows, second.usage.requests) == (3, 3, 3)


def test_a_shard_that_is_opened_again_is_counted_anew(tmp_path: Path) -> None:
    """Another journal under the same name is not added to the one before it, and a sealed shard counts no more."""
    dataset = Dataset(tmp_path, Chunk)
    journals = Journals(dataset)
    path = dataset.shard(0).checkpoint
    append(path, entry("a"), entry("b"))
    assert journals.tally([0]).inputs == 2
    path.rename(tmp_path / "old")
    append(path, entry("a"))
    assert journals.tally([0]).inputs == 1
    assert journals.tally([]).inputs == 0
    path.unlink()
    assert journals.tally([0]).inputs == 0
