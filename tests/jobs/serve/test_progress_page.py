from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from browser import Reader
from served import Client, client, site
from served_run import HOSTILE, sealed_run


async def event(browser: Client[Any, Any], last: str = "") -> dict[str, Any]:
    """The first event of a stream, whose id is that of its message."""
    headers = {"Last-Event-ID": last} if last else {}
    async with browser.get("/progress/events", headers=headers) as stream:
        assert stream.content_type == "text/event-stream"
        lines: dict[str, str] = {}
        while "data" not in lines:
            name, _, value = (await stream.content.readline()).decode().rstrip("\n").partition(": ")
            lines[name] = value
    message: dict[str, Any] = json.loads(lines["data"])
    assert message["id"] == lines["id"]
    return message


async def test_a_stream_begins_with_the_whole_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    """The first event holds how the run stands; a stream that names it gets no more than what came after it."""
    sealed_run(tmp_path)
    (tmp_path / "run.log").write_text(
        '{"time":"2026-01-02T03:04:05Z","event":"gristmill.note","job":"ask","text":"a line"}\n', "utf-8"
    )
    async with client(site(tmp_path)) as browser:
        first = await event(browser)
        again = await event(browser, first["id"])
    assert first["whole"]
    assert [each["text"] for each in first["happened"]] == ["a line"]
    assert {job["job"]: job["done"] for job in first["now"]["jobs"]}["answer"] == 3
    assert not again["whole"]
    assert again["happened"] == []


async def test_the_page_is_whole_without_its_script(tmp_path: Path) -> None:
    """What a browser without scripts shows has every job with what is done, and the kinds of what failed."""
    sealed_run(tmp_path, text=HOSTILE)
    async with client(site(tmp_path)) as browser:
        text = Reader(await (await browser.get("/")).text()).text
        figures = await (await browser.get("/progress.json")).json()
    assert "No process works on this run" in text
    assert "4 of 4" in text
    assert "1 no text" in text
    assert figures["state"] == "stopped"
