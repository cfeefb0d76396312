from __future__ import annotations

from pathlib import Path

import pytest
from samples import chunk, sealed

from engine.errors import Fatal
from jobs.records import Chunk
from jobs.serve.committed import Committed, Place


def test_a_window_runs_over_shards(tmp_path: Path) -> None:
    """Rows are counted over all shards, empty ones too; a window beyond the end holds what there is."""
    dataset = sealed(tmp_path / "chunks", Chunk, [chunk("a"), chunk("b")], [], [chunk("c"), chunk("d"), chunk("e")])
    committed = Committed(dataset)
    assert committed.window(1, 3) == [Place(0, 1), Place(2, 0), Place(2, 1)]
    assert committed.window(4, 9) == [Place(2, 2)]
    assert committed.window(5, 9) == []


def test_what_is_sealed_later_is_seen(tmp_path: Path) -> None:
    """A new shard, and one that was sealed anew, count at once; an open one has no rows."""
    dataset = sealed(tmp_path / "chunks", Chunk, [chunk("a")])
    committed = Committed(dataset)
    before = committed.stamp(0)
    assert committed.stamp(1) == 0
    dataset.write_sealed(1, [chunk("b"), chunk("c")])
    assert [sums.rows for sums in committed.sums().values()] == [1, 2]
    dataset.write_sealed(0, [chunk("d")])
    assert committed.stamp(0) != before
    dataset.shard(0).done.unlink()
    assert committed.rows(0, Chunk) == []
    assert list(committed.sums()) == [1]


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """No file is made or touched, and a folder that is not there stays away."""
    dataset = sealed(tmp_path / "chunks", Chunk, [chunk("a")])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    committed = Committed(dataset)
    assert [row.id for row in committed.rows(0, Chunk)] == ["a"]
    committed.sums()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    missing = Committed(sealed(tmp_path / "pairs", Chunk))
    assert missing.sums() == {}
    assert not (tmp_path / "pairs").exists()


def test_a_damaged_shard_is_an_error(tmp_path: Path) -> None:
    """Rows that are not those of their seal are not shown as if they were."""
    dataset = sealed(tmp_path / "chunks", Chunk, [chunk("a")])
    path = dataset.shard(0).data
    path.write_bytes(path.read_bytes().replace(b"The text", b"The test"))
    with pytest.raises(Fatal, match="has changed since it was sealed"):
        Committed(dataset).rows(0, Chunk)
