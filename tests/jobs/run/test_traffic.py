from __future__ import annotations

import asyncio

import pytest

from engine.errors import Transient
from engine.requests import Reply, Request
from engine.testing import scripted
from engine.virtualtime import run_virtual
from jobs.models.chat import chat
from jobs.run.traffic import Traffic

REQUEST = chat("base", [{"role": "user", "content": "q"}], max_tokens=9)


def test_what_is_in_flight_and_how_long_it_takes() -> None:
    """The words tell how many requests are under way, and how long one takes once one has been answered."""

    async def work() -> list[str]:
        traffic, answer = Traffic(), scripted("a", forever=True)

        async def slow(request: Request) -> Reply:
            await asyncio.sleep(8)
            return await answer(request)

        call = traffic.watched(slow)
        told = [traffic.words()]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call(REQUEST))  # type: ignore[arg-type]
            await asyncio.sleep(4)
            told.append(traffic.words())
            tasks.create_task(call(REQUEST))  # type: ignore[arg-type]
            tasks.create_task(call(REQUEST))  # type: ignore[arg-type]
            await asyncio.sleep(5)
            told.append(traffic.words())
        return [*told, traffic.words()]

    assert run_virtual(work()) == [
        "what is in flight is",
        "1 request in flight is",
        "2 requests in flight (one takes about 8 s) are",
        "what is in flight is",
    ]


async def test_what_failed_is_over() -> None:
    """A request that failed is no more in flight, and says nothing of how long answers take."""
    traffic = Traffic()
    with pytest.raises(Transient):
        await traffic.watched(scripted(Transient("no")))(REQUEST)
    assert (traffic.in_flight, traffic.mean_s) == (0, None)
