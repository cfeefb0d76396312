from __future__ import annotations

import asyncio
from typing import cast

import pytest

from engine.errors import BadInput, Fatal
from jobs.serve.feed import Feed, Message
from jobs.serve.run_now import Happening, Point, RunNow
from jobs.serve.watch import Look, Watch

NOW = RunNow(at=0, state="works", jobs=[], left_s=None, usd=0, usd_budget=None, tokens=0, tokens_budget=None)


class Counting:
    """A watch whose every look finds one more point and one more happening."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> Look:
        self.looks += 1
        at = float(self.looks)
        point = Point(at=at, seconds=1, rates={})
        return Look(now=NOW, points=[point], happened=[Happening(at=at, job="ask", what="note", text="")])


def feed() -> Feed:
    return Feed(cast(Watch, Counting()))


def seen(message: Message) -> list[float]:
    assert [point.at for point in message.points] == [each.at for each in message.happened]
    return [point.at for point in message.points]


async def test_who_connects_again_gets_what_was_missed() -> None:
    """Named by the last message that was seen, the next holds all behind it and nothing twice."""
    found = feed()
    for _ in range(3):
        await found.look()
    first = found.since("")
    assert (first.whole, seen(first)) == (True, [1, 2, 3])
    await found.look()
    await found.look()
    again = found.since(first.id)
    assert (again.whole, seen(again)) == (False, [4, 5])
    assert seen(found.since(again.id)) == []


async def test_a_message_of_another_server_is_no_beginning() -> None:
    """After a restart of the server, a page gets everything anew."""
    one, other = feed(), feed()
    await one.look()
    await other.look()
    for id_ in (one.since("").id, "-1", "x", f"{other.since('').id.partition('-')[0]}-x"):
        message = other.since(id_)
        assert (message.whole, seen(message)) == (True, [1])


async def test_the_last_message_says_that_the_server_ends() -> None:
    """A page that listens is sent everything once, then how the run ended; then its messages end."""
    found, begun = feed(), asyncio.Event()
    listened: list[Message] = []

    async def listen() -> None:
        async for message in found.messages(""):
            listened.append(message)
            begun.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        await begun.wait()
        await found.look()
        await found.look(last=True)
    assert [message.now.ended for message in listened][-1:] == [True]
    assert [at for message in listened for at in seen(message)] == [1, 2, 3]


async def test_a_look_that_fails_ends_nothing() -> None:
    """A damaged file in the run ends neither the server nor the run that it watches; what fails inside is raised as it is."""

    class Damaged(Counting):
        def look(self) -> Look:
            super().look()
            raise Fatal("a seal is damaged")

    watch = Damaged()
    found = Feed(cast(Watch, watch))

    async def fail() -> None:
        async with found.looking():
            while not watch.looks:  # noqa: ASYNC110 - the look is in a thread
                await asyncio.sleep(0)
            raise BadInput("its own")

    with pytest.raises(BadInput, match="its own"):
        await fail()
    assert watch.looks == 2
