"""A real server killed with SIGKILL in the middle of reviews, and one that a person uses by keyboard alone in Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import browser
import pymupdf
import pytest
from reviewable import body, reviewable

from jobs.config import Config
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.run import configfile

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
PAIRS = 230
QUEUES = [40, pytest.param(200, marks=pytest.mark.soak)]

in_chromium = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed")


@contextmanager
def served(run: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`gristmill serve` in a process of its own: the address that it prints, and the process."""
    command = [sys.executable, "-m", "jobs", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().rpartition(" ")[2], process
        finally:
            process.kill()


@asynccontextmanager
async def signed_in(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(address.partition("?")[0], cookie_jar=jar) as session:
        async with session.get(address) as answer:
            token = re.search(r'name="gristmill-token" content="([^"]+)"', await answer.text())
        assert token
        session.headers["X-Gristmill-Token"] = token[1]
        yield session


def prepared(folder: Path) -> Path:
    pdf = folder.with_name("paper.pdf")
    with pymupdf.open() as document:
        for number in (1, 2):
            document.new_page().insert_text((72, 72), f"Page {number}: the text of a chunk.")
        document.save(pdf)
    run = reviewable(folder, PAIRS, pdf=pdf).path
    (run / "run.toml").write_bytes(configfile.dump(Config()))
    return run


def saved_in(run: Path) -> dict[str, Any]:
    log = ReviewLog(run / "reviews")
    return {id_: review for shard in log.shards() for id_, review in standing(log.rows(shard)).items()}


@pytest.mark.parametrize("killed_after", [1, 60, 120])
async def test_a_kill_between_200_reviews_loses_nothing(tmp_path: Path, killed_after: int) -> None:
    """Whatever the server called saved before SIGKILL is there, and the next server goes on behind it."""
    run, said = prepared(tmp_path / "run"), list[str]()
    with served(run) as (address, process):
        async with signed_in(address) as session:
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await asyncio.gather(*(review(session, said, part, process, killed_after) for part in range(4)))
        assert process.wait() == -signal.SIGKILL
    assert killed_after <= len(said) < 200
    assert set(said) <= saved_in(run).keys()
    with served(run) as (address, _):
        async with signed_in(address) as session:
            left = [f"pair-{number}" for number in range(200) if f"pair-{number}" not in saved_in(run)]
            for pair_id in left:
                async with session.post("/review/decisions", json=body(pair_id)) as answer:
                    assert answer.status == 200
    assert saved_in(run).keys() == {f"pair-{number}" for number in range(200)}
    assert list(ReviewLog(run / "reviews").damage()) == []


async def review(
    session: aiohttp.ClientSession, said: list[str], part: int, process: subprocess.Popen[str], killed_after: int
) -> None:
    """One of four reviewers; the one who sees that enough are saved kills the server while others wait for theirs."""
    for number in range(part, 200, 4):
        async with session.post("/review/decisions", json=body(f"pair-{number}")) as answer:
            assert (await answer.json())["id"]
        said.append(f"pair-{number}")
        if len(said) >= killed_after:
            os.kill(process.pid, signal.SIGKILL)


class Reviewer:
    """A person at the keyboard of one browser."""

    def __init__(self, page: browser.Page) -> None:
        self.page = page

    async def open(self, address: str, path: str = "/review?kind=random&seed=0&size=200") -> None:
        await self.page.ask("Page.navigate", url=address)
        await self.until(
            "document.readyState === 'complete' && location.search === '' && !!document.querySelector('nav')"
        )
        await self.page.ask("Page.navigate", url=address.partition("/?")[0] + path)
        await self.until("document.getElementById('review')?.dataset.ready === ''")

    async def until(self, expression: str) -> None:
        """Wait for what the page will be; each look waits for the page's next frame."""
        for _ in range(3000):
            if await self.page.value(expression):
                return
            await self.page.ask(
                "Runtime.evaluate", expression="new Promise((done) => setTimeout(done, 5))", awaitPromise=True
            )
        raise AssertionError(f"never true: {expression}; {await self.page.value('document.body.innerText')}")

    async def key(self, key: str, *, ctrl: bool = False) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9}
        text = {"text": "\r"} if key == "Enter" else {} if key in codes else {"text": key}
        more = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())), "modifiers": 2 * ctrl}
        await self.page.ask("Input.dispatchKeyEvent", type="keyDown", **more, **({} if ctrl else text))
        await self.page.ask("Input.dispatchKeyEvent", type="keyUp", **more)

    async def write(self, text: str) -> None:
        await self.page.ask("Input.insertText", text=text)

    async def shown(self) -> str:
        return str(await self.page.value("document.querySelector('.reviewed-pair')?.dataset.pair"))

    async def saved(self, before: str) -> None:
        """Wait until the page says saved and shows another pair than `before`."""
        await self.until(
            "document.getElementById('state').textContent.startsWith('Saved') && "
            f"document.querySelector('.reviewed-pair').dataset.pair !== {json.dumps(before)}"
        )


@in_chromium
async def test_by_keyboard_alone(tmp_path: Path) -> None:
    """Accept, edit, reject by a digit, undo, forth and back, and the list of keys; the console stays empty."""
    run = prepared(tmp_path / "run")
    with served(run) as (address, _):
        async with browser.opened() as page:
            person = Reviewer(page)
            await person.open(address)
            first = await person.shown()
            await person.key("a")
            await person.saved(first)
            second = await person.shown()
            await person.key("e")
            await person.until("document.activeElement.name === 'question'")
            await page.value("document.activeElement.select()")
            await person.write("What would be a better question?")
            await person.key("Enter", ctrl=True)
            await person.saved(second)
            third = await person.shown()
            await person.key("r")
            await person.until("document.activeElement.name === 'reason'")
            await person.write("4")
            await person.key("Enter")
            await person.saved(third)
            fourth = await person.shown()
            await person.key("k")
            await person.until(f"document.querySelector('.reviewed-pair').dataset.pair === {json.dumps(third)}")
            await person.key("j")
            await person.until(f"document.querySelector('.reviewed-pair').dataset.pair === {json.dumps(fourth)}")
            await person.key("u")
            await person.saved(fourth)
            assert await person.shown() == third
            await person.key("?")
            await person.until("document.getElementById('keys-list').open")
            await person.key("Escape")
            await person.until("!document.getElementById('keys-list').open")
            assert page.console == []
    found = saved_in(run)
    assert {id_: review.decision for id_, review in found.items()} == {first: "accept", second: "edit"}
    assert found[second].after.question == "What would be a better question?"
    rows = [row for shard in ReviewLog(run / "reviews").shards() for row in ReviewLog(run / "reviews").rows(shard)]
    assert [row.reason for row in rows if row.decision == "reject"] == ["trivial"]


@in_chromium
async def test_two_browsers_on_one_queue(tmp_path: Path) -> None:
    """Neither shows what the other shows; a pair that both decide on keeps both rows, and the later one says so."""
    run = prepared(tmp_path / "run")
    with served(run) as (address, _):
        async with browser.opened() as one, browser.opened() as other:
            ada, ben = Reviewer(one), Reviewer(other)
            await ada.open(address)
            await ben.open(address)
            said = list[str]()
            for _ in range(6):
                for person in (ada, ben):
                    assert await ada.shown() != await ben.shown()
                    said.append(await person.shown())
                    await person.key("a")
                    await person.saved(said[-1])
            contested = await ada.shown()
            await ben.open(address, f"/review?pair={contested}&shard={int(contested[5:]) // 10}")
            assert await ben.shown() == contested
            await ada.key("a")
            await ada.saved(contested)
            await ben.key("r")
            await ben.until("document.activeElement.name === 'reason'")
            await ben.write("wrong")
            await ben.key("Enter")
            await ben.until("document.getElementById('state').textContent.includes('instead of accepted')")
            assert one.console == other.console == []
    assert len(set(said)) == 12
    assert saved_in(run)[contested].decision == "reject"
    assert saved_in(run).keys() == {*said, contested}


@in_chromium
@pytest.mark.parametrize("size", QUEUES)
async def test_reviews_by_keyboard_and_a_kill_between_them(tmp_path: Path, size: int) -> None:
    """What the page called saved is there after SIGKILL; it calls nothing saved while the server is gone, and goes on."""
    run, said, queue = prepared(tmp_path / "run"), list[str](), f"/review?kind=random&seed=0&size={size}"
    async with browser.opened() as page:
        person = Reviewer(page)
        with served(run) as (address, process):
            await person.open(address, queue)
            while len(said) < 0.45 * size:
                said.append(await person.shown())
                await person.key("a")
                await person.saved(said[-1])
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            unsaved = await person.shown()
            await person.key("a")
            await person.until("document.getElementById('trouble').textContent.startsWith('Not saved')")
            assert await person.shown() == unsaved
        assert saved_in(run).keys() == set(said)
        with served(run) as (address, _):
            await person.open(address, queue)
            assert await person.shown() == unsaved, "the queue goes on where it was"
            while len(said) < size - 1:
                said.append(await person.shown())
                await person.key("a")
                await person.saved(said[-1])
            said.append(await person.shown())
            await person.key("a")
            await person.until("!document.getElementById('done').hidden")
    assert len(set(said)) == size
    assert saved_in(run).keys() == set(said)
