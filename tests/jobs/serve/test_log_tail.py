from __future__ import annotations

import json
from pathlib import Path

from jobs.serve.log_tail import LogTail


def line(job: str) -> str:
    return json.dumps({"time": "2026-01-02T03:04:05.000+00:00", "event": "gristmill.job.started", "job": job}) + "\n"


def test_each_look_reads_on(tmp_path: Path) -> None:
    """What was rotated out comes first, a torn line waits for its end, and what is no line of ours is left out."""
    log = tmp_path / "run.log"
    log.with_name("run.log.1").write_text(line("a"), "utf-8")
    tail = LogTail(log)
    assert [said.job for said in tail.further()] == ["a"]
    log.write_text(line("b") + "not ours\n" + line("c")[:20], "utf-8")
    assert [said.job for said in tail.further()] == ["b"]
    with log.open("a", encoding="utf-8") as file:
        file.write(line("c")[20:])
    assert [said.job for said in tail.further()] == ["c"]
    assert tail.further() == []


def test_a_log_that_is_rotated_is_read_from_its_beginning(tmp_path: Path) -> None:
    """The new file is another one, however long it is."""
    log = tmp_path / "run.log"
    log.write_text(line("a"), "utf-8")
    tail = LogTail(log)
    tail.further()
    log.rename(log.with_name("run.log.1"))
    log.write_text(line("b") + line("c"), "utf-8")
    assert [said.job for said in tail.further()] == ["b", "c"]
