"""What the rivals share: the prompts, a bound on what is in flight, a file of answers, and the judgement of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
from work import Settings, Started, judged, prompts, settings

__all__ = ["Ask", "finish", "main"]

Ask = Callable[[str], Awaitable[str]]
"""From a prompt to its answer; raises whatever the rival raises."""


def main(opened: Callable[[Settings], AbstractAsyncContextManager[Ask]]) -> None:
    """Let the rival that `opened` opens answer every prompt; answers are saved as they come."""
    given = settings()
    asked, path = list(prompts(given.requests, given.seed)), Path(given.folder) / "answers.jsonl"
    clocks = Started()
    asyncio.run(_ask_all(opened, given, asked, path, clocks))
    finish(given, clocks, asked, path)


async def _ask_all(
    opened: Callable[[Settings], AbstractAsyncContextManager[Ask]],
    given: Settings,
    asked: list[str],
    path: Path,
    clocks: Started,
) -> None:
    room = asyncio.Semaphore(given.in_flight or 100)

    async def one(number: int) -> None:
        async with room:
            clocks.sent()
            try:
                text = await ask(asked[number])
            except Exception as error:  # noqa: BLE001 - whatever a rival raises is an answer that it lost
                clocks.trouble(type(error).__name__)
            else:
                file.write(msgspec.json.encode({"id": str(number), "text": text}) + b"\n")

    with path.open("wb") as file:
        async with opened(given) as ask, asyncio.TaskGroup() as tasks:
            for number in range(len(asked)):
                tasks.create_task(one(number))


def finish(given: Settings, clocks: Started, asked: list[str], path: Path) -> None:
    """Stop the clocks, judge the file of answers, and print the outcome."""
    outcome = clocks.stopped()
    answers = {row["id"]: row["text"] for row in map(msgspec.json.decode, path.read_bytes().splitlines())}
    outcome = judged(outcome, answers, {str(number): prompt for number, prompt in enumerate(asked)})
    print(msgspec.json.encode(outcome).decode())
