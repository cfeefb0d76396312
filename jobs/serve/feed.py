"""The feed of the page Progress: what each look has found, kept so that a page that connects again misses nothing.

Each thing has a number. A message holds how the run stands, and all points and happenings behind a number; so a
client that names the last number it has seen gets the rest, and one that names none gets everything that is kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from engine.errors import GristmillError
from jobs.serve.live import Live
from jobs.serve.run_now import Happening, Point, RunNow
from jobs.serve.watch import Look, Watch

__all__ = ["Feed", "Message"]

_POINTS = 3600
_HAPPENINGS = 200
_EVERY_S = 1.0
_UNSEEN_S = 10.0
_REST = 8.0
"""A look may take one part in nine of the time."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: ``id`` is given back when a page connects again; ``whole`` says that it replaces what was sent."""

    id: str
    whole: bool
    now: RunNow
    points: list[Point]
    happened: list[Happening]


class Feed:
    """The looks of one `watch`, for any number of pages; `live` is added to each."""

    def __init__(self, watch: Watch, live: Live | None = None) -> None:
        self._watch = watch
        self._live = live
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._points: deque[tuple[int, Point]] = deque(maxlen=_POINTS)
        self._happened: deque[tuple[int, Happening]] = deque(maxlen=_HAPPENINGS)
        self._now: RunNow | None = None
        self._looking = asyncio.Lock()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._listeners = 0

    async def now(self) -> RunNow:
        """How the run stands, from the last look, or from one now."""
        if self._now is None:
            await self.look()
        assert self._now is not None
        return self._now

    async def look(self, *, last: bool = False) -> None:
        """Look now; with `last`, say that the server ends."""
        async with self._looking:
            found = await asyncio.to_thread(self._watch.look)
            self._take(found, last=last)

    def _take(self, found: Look, *, last: bool) -> None:
        limits = self._live.limits_now() if self._live else None
        self._now = msgspec.structs.replace(found.now, limits=limits, ended=last)
        for point in found.points:
            self._number += 1
            self._points.append((self._number, point))
        for happening in found.happened:
            self._number += 1
            self._happened.append((self._number, happening))
        self._changed.set()
        self._changed = asyncio.Event()

    def since(self, last_id: str) -> Message:
        """What a page that has seen `last_id` lacks. There must have been a look."""
        assert self._now is not None
        epoch, _, number = last_id.partition("-")
        seen = int(number) if epoch == self._epoch and number.isascii() and number.isdecimal() else 0
        return Message(
            id=f"{self._epoch}-{self._number}",
            whole=not seen,
            now=self._now,
            points=[point for at, point in self._points if at > seen],
            happened=[happening for at, happening in self._happened if at > seen],
        )

    async def messages(self, last_id: str) -> AsyncGenerator[Message, None]:
        """What a page lacks, then what each look adds, up to the last one."""
        await self.now()
        self._listeners += 1
        self._wanted.set()
        try:
            while True:
                changed, message = self._changed, self.since(last_id)
                yield message
                if message.now.ended:
                    return
                last_id = message.id
                await changed.wait()
        finally:
            self._listeners -= 1

    async def keep_looking(self) -> None:
        """Look again and again: each second while a page listens, and seldom while none does."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            with suppress(GristmillError, OSError):  # a damaged file: the pages that need it say so
                await self.look()
            pause = max(_EVERY_S, _REST * (loop.time() - began))
            self._wanted.clear()
            if self._listeners:
                await asyncio.sleep(pause)
                continue
            try:
                async with asyncio.timeout(max(pause, _UNSEEN_S)):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look while inside; the last look says that the server ends. No look that fails ends what is done inside."""
        task = asyncio.get_running_loop().create_task(self.keep_looking(), name="looking")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            with suppress(GristmillError, OSError):
                await self.look(last=True)
