"""The floor: a bare aiohttp loop with a semaphore that saves its answers. No limits, no journal, nothing to resume.

With ``attempts`` above 1 it retries in the naive way: whatever went wrong (a status, a reset, a timeout, a body that is
not JSON, content that is not what was asked) is asked again at once, in its place, up to a number of times.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import msgspec
from work import MODEL, Settings, Started, judged, plausible, prompts, run, settings

_encode, _decode = msgspec.json.encode, msgspec.json.decode


async def ask_all(given: Settings, asked: list[str], path: Path, clocks: Started) -> None:
    url, room = f"{given.base_url}/chat/completions", asyncio.Semaphore(given.in_flight or 100)
    headers = {"Content-Type": "application/json"}

    async def attempt(number: int) -> str | None:
        body = {"messages": [{"role": "user", "content": asked[number]}], "model": MODEL, "temperature": 0.0}
        clocks.sent()
        try:
            data = _encode({**body, "max_tokens": given.max_tokens})
            async with session.post(url, data=data, headers=headers) as response:
                answer = await response.read()
            if response.status != 200:
                clocks.trouble(str(response.status))
                return None
            text: str = _decode(answer)["choices"][0]["message"]["content"]
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            clocks.trouble(type(error).__name__)
            return None
        if given.attempts > 1 and not plausible(text, asked[number]):
            clocks.trouble("malformed")
            return None
        return text

    async def ask(number: int) -> None:
        async with room:
            for _ in range(given.attempts):
                text = await attempt(number)
                if text is not None:
                    file.write(_encode({"id": str(number), "text": text}) + b"\n")
                    return

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=given.timeout_s)
    with path.open("wb") as file:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            for number in range(len(asked)):
                tasks.create_task(ask(number))


def main() -> None:
    given = settings()
    asked, path = list(prompts(given.requests, given.seed)), Path(given.folder) / "answers.jsonl"
    clocks = Started()
    run(given, ask_all(given, asked, path, clocks))
    outcome = clocks.stopped()
    answers = {row["id"]: row["text"] for row in map(_decode, path.read_bytes().splitlines())}
    print(_encode(judged(outcome, answers, {str(number): prompt for number, prompt in enumerate(asked)})).decode())


if __name__ == "__main__":
    main()
