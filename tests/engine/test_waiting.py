from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from engine.limits import Limit
from engine.requests import Request
from engine.virtualtime import run_virtual
from engine.waiting import Waiting


@given(st.lists(st.integers(0, 3)), st.data())
def test_the_highest_rank_is_first_and_in_it_who_came_first(ranks: list[int], data: st.DataObject) -> None:
    """Whoever is taken out in between, the queue is in the order of ranks, and of arrival within a rank."""

    async def scenario() -> None:
        waiting: Waiting[int] = Waiting()
        for who, rank in enumerate(ranks):
            waiting.add(who, rank)
        left = dict(enumerate(ranks))
        while left:
            assert len(waiting) == len(left)
            if data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(sorted(left)))
                assert waiting.remove(gone)
                assert not waiting.remove(gone)
                del left[gone]
                continue
            who, future = waiting.first()
            assert not future.done()
            assert who == min(left, key=lambda each: (-left[each], each))
            waiting.remove(who)
            del left[who]
        assert not waiting

    run_virtual(scenario())


def test_requests_of_a_later_job_pass_those_of_an_earlier_one() -> None:
    """Where an endpoint has one place, who waits for it with a higher rank gets it before all that came earlier."""
    sent: list[int] = []

    async def send(limit: Limit, rank: int) -> None:
        request = Request(to="generator", characters=1, rank=rank)
        async with limit.slot(request) as slot:
            sent.append(rank)
            await asyncio.sleep(1)
            del slot

    async def scenario() -> None:
        limit = Limit(max_concurrency=1)
        async with asyncio.TaskGroup() as tasks:
            for rank in (0, 0, 1, 0, 2, 1):
                tasks.create_task(send(limit, rank))

    run_virtual(scenario())
    assert sent == [0, 2, 1, 1, 0, 0]
