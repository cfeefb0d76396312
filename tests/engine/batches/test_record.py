from __future__ import annotations

from pathlib import Path

import pytest

from engine.batches.record import BatchRecord, read_records, write_record
from engine.errors import Fatal


def test_records_are_read_by_number(tmp_path: Path) -> None:
    """Batch 10 comes after batch 9; requests and results beside the records are passed over."""
    for number in (10, 9):
        write_record(tmp_path, BatchRecord(number=number, role="judge"))
    for name in ("9.requests.jsonl", "9.results.jsonl", "9.json.tmp", "notes.json"):
        (tmp_path / name).write_text("{}")
    assert [record.number for record in read_records(tmp_path)] == [9, 10]
    assert read_records(tmp_path / "none") == []


def test_a_damaged_record(tmp_path: Path) -> None:
    """A record that is torn or of another kind is named in one line, and not passed over."""
    (tmp_path / "3.json").write_text('{"number": 3, "role": 7}')
    with pytest.raises(Fatal, match=r"3\.json is damaged"):
        read_records(tmp_path)
