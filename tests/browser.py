"""Pages in headless Chromium, driven over the DevTools protocol with what is a dependency already."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ["CHROMIUM", "Page", "opened"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Page:
    """One open page: ``console`` and ``requests`` hold what it said and what it asked for since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._seen: asyncio.Queue[str] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
                continue
            params = event.get("params", {})
            match event["method"]:
                case "Network.requestWillBeSent":
                    self.requests.append(params["request"]["url"])
                case "Log.entryAdded":
                    self.console.append(params["entry"]["text"])
                case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                    self.console.append(str(params))
            self._seen.put_nowait(event["method"])

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        answer = await self._answers[number]
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    async def show(self, file: Path | str, *, width: int, dark: bool = False) -> None:
        """Open `file`, an absolute path or a URL, on a screen `width` CSS pixels wide, and wait until it is loaded."""
        self.console.clear()
        self.requests.clear()
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        await self.ask("Page.navigate", url=file if isinstance(file, str) else file.as_uri())
        while await self._seen.get() != "Page.loadEventFired":
            pass

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth on the page."""
        found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def picture(self) -> bytes:
        """The whole page as a PNG."""
        found = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


@asynccontextmanager
async def opened() -> AsyncIterator[Page]:
    """A page in a browser of its own, which ends with the block."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ("--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # it cannot have one as root
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *flags, *sandbox, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(await _target(process, session)) as socket,
            ):
                page = Page(socket)
                async with asyncio.TaskGroup() as group:
                    listening = group.create_task(page.listen())
                    for domain in ("Page", "Network", "Log", "Runtime"):
                        await page.ask(f"{domain}.enable")
                    yield page
                    listening.cancel()
        finally:
            process.kill()
            await process.communicate()


async def _target(process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    """The address of the browser's first page, from the port that it names on its standard error."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b"DevTools listening on ws://" in line:
            host = line.split(b"ws://", 1)[1].split(b"/")[0].decode()
            async with session.get(f"http://{host}/json/list") as reply:
                targets = await reply.json()
            address: str = next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
            return address
    raise RuntimeError("the browser ended before it could be spoken to")


VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Reads a page as a browser would: its tags, its text, and whether each tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Where the page's links lead."""
        return [attributes.get("href") or "" for tag, attributes in self.tags if tag == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)
