from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import Fatal
from engine.events import Note
from jobs.run.event_log import EventLog


def test_the_log_is_one_event_a_line(tmp_path: Path) -> None:
    """Events go into the file while it is open, as JSON lines; before and after that nowhere."""
    log, path = EventLog(), tmp_path / "run.log"
    log(Note(job="ask", text="before"))
    with log.to(path):
        log(Note(job="ask", text="two\nlines"))
    log(Note(job="ask", text="after"))
    (line,) = map(json.loads, path.read_text("utf-8").splitlines())
    assert (line["event"], line["job"], line["text"]) == ("gristmill.note", "ask", "two\nlines")


def test_a_log_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log for which the disk has no room, or no place, is one line that names it, and no traceback."""
    with pytest.raises(Fatal, match=rf"^cannot write {tmp_path}: Is a directory; [^\n]*$"), EventLog().to(tmp_path):
        pytest.fail("it was opened")
    log, note = EventLog(), Note(job="ask", text="something")
    with pytest.raises(Fatal, match=r"^cannot write /dev/full: the disk is full; [^\n]*$"), log.to(Path("/dev/full")):
        log(note)
    assert capsys.readouterr().err == ""
