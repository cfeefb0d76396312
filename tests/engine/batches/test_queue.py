from __future__ import annotations

import asyncio

from fake_disk import virtually

from engine.batches.queue import ProviderQueue


@virtually
async def test_batches_wait_for_room() -> None:
    """A batch waits while those inside leave too little room; one that is larger than the limit goes in alone."""
    queue = ProviderQueue(100)
    await queue.enter(1, 60)
    second, third = (asyncio.create_task(queue.enter(number, tokens)) for number, tokens in ((2, 50), (3, 40)))
    await asyncio.sleep(1)
    assert (second.done(), third.done()) == (False, True)
    queue.leave(1)
    await second
    large = asyncio.create_task(queue.enter(4, 500))
    await asyncio.sleep(1)
    assert not large.done()
    queue.leave(2)
    queue.leave(3)
    await large


@virtually
async def test_a_limit_is_learned() -> None:
    """A refusal beside others bounds what may be inside together; batches that are taken raise the bound again."""
    queue = ProviderQueue(None)
    await queue.enter(1, 60)
    await queue.enter(2, 60)
    assert queue.refused(2, 60)
    assert queue.limit == 119
    queue.leave(1)
    assert not queue.refused(3, 60)
    await queue.enter(4, 110)
    queue.taken()
    assert queue.limit is not None
    assert queue.limit > 119


@virtually
async def test_what_is_configured_stays() -> None:
    """A limit of the user's own does not grow."""
    queue = ProviderQueue(100)
    await queue.enter(1, 100)
    queue.taken()
    assert queue.limit == 100
