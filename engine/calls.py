"""Wrappers of an endpoint's call: functions from a call to a call, composed on one line.

``retrying(limited(endpoint))``: the retry is outside and the limit inside, so a call that sleeps before its next
attempt holds no slot. `limited` is in limits.py and `retrying` in retries.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

import msgspec

from engine.errors import GristmillError, Permanent
from engine.requests import NOTHING_USED, Call, Reply, Request, Usage

__all__ = ["LINGER_S", "Tally", "batched", "metered"]

LINGER_S = 0.01
"""How long a batch waits for more requests: short beside a request, long enough for those that one commit released."""


class Tally:
    """What one record has cost so far, including answers that could not be used.

    ``lost`` is the part of ``usage`` that is paid for again if the record is processed again.
    """

    __slots__ = ("lost", "usage")

    def __init__(self) -> None:
        self.usage = self.lost = NOTHING_USED

    def add(self, usage: Usage, *, kept: bool = False) -> None:
        self.usage += usage
        if not kept:
            self.lost += usage


def metered(call: Call, tally: Tally, job: str, group: str = "", rank: int = 0, input: str = "") -> Call:
    """Add the cost of each reply to `tally`, and set in each request who sends it: job, group, rank, input and turn."""
    turn = 0

    async def counted(request: Request) -> Reply:
        nonlocal turn
        sent = msgspec.structs.replace(request, job=job, group=group, rank=rank, input=input, turn=turn)
        turn += 1
        try:
            reply = await call(sent)
        except GristmillError as error:
            tally.add(error.usage)
            raise
        tally.add(reply.usage, kept=reply.kept)
        return reply

    return counted


def batched(call: Call, *, size: int, characters: int | None = None) -> Call:
    """Join embedding requests, each of a list of texts, into requests of about `size` texts; others are sent unchanged.

    `characters` bounds the length of each, unless a single request is longer; None is no bound.

    Only requests of one group (one shard) that differ only in their texts are joined, so the cost of a shard does not
    depend on the batches. A batch holds the requests that arrive within `LINGER_S` of the first. Each caller gets its
    own vectors and its share of the usage, or of the cost of a failure. A batch that is refused is sent again request
    by request, so that one bad text fails one record.
    """
    batches: list[_JoinedRequests] = []

    async def joined(request: Request) -> Reply:
        if not request.texts:
            return await call(request)
        batch = next((batch for batch in batches if batch.takes(request, size, characters)), None)
        if batch is None:
            batch = _JoinedRequests()
            batches.append(batch)
        place = batch.add(request)
        if place == 0:
            await batch.send(call, batches)
        outcome = (await asyncio.shield(batch.outcomes))[place]
        if isinstance(outcome, GristmillError):
            raise outcome
        return outcome

    return joined


class _JoinedRequests:
    """Requests that are sent as one. The first to join sends it; the others wait for `outcomes`."""

    def __init__(self) -> None:
        self.texts = self.characters = 0
        self.requests: list[Request] = []
        self.outcomes: asyncio.Future[Sequence[Reply | GristmillError]] = asyncio.get_running_loop().create_future()

    def add(self, request: Request) -> int:
        self.texts += len(request.texts)
        self.characters += request.characters
        self.requests.append(request)
        return len(self.requests) - 1

    def takes(self, request: Request, size: int, characters: int | None) -> bool:
        """Whether `request` is like those that are here, and there is room for it."""
        if self.texts >= size or (characters is not None and self.characters + request.characters > characters):
            return False
        return _without_texts(request) == _without_texts(self.requests[0])

    async def send(self, call: Call, joinable: list[_JoinedRequests]) -> None:
        """Wait `LINGER_S` for more requests, then send; none can join after that."""
        try:
            try:
                await asyncio.sleep(LINGER_S)
            finally:
                joinable.remove(self)
            self.outcomes.set_result(await _outcomes(call, self.requests))
            # All go on in the same turn of the loop, so that one commit holds them: their shares of the usage belong together.
            await asyncio.sleep(0)
        except BaseException:
            self.outcomes.cancel()
            raise


async def _outcomes(call: Call, requests: Sequence[Request]) -> list[Reply | GristmillError]:
    """The outcome of each of `requests`: sent as one, and one by one when that is refused."""
    try:
        return [*_divide(await call(_join(requests)), requests)]
    except GristmillError as error:
        shares = _shares(error.usage, requests)
        if len(requests) == 1 or not isinstance(error, Permanent):
            return [error.costing(share) for share in shares]
    alone = await asyncio.gather(*(_alone(call, request) for request in requests))
    return [_costing_more(outcome, share) for outcome, share in zip(alone, shares, strict=True)]


async def _alone(call: Call, request: Request) -> Reply | GristmillError:
    try:
        return await call(request)
    except GristmillError as error:
        return error


def _costing_more(outcome: Reply | GristmillError, more: Usage) -> Reply | GristmillError:
    if isinstance(outcome, GristmillError):
        return outcome.costing(more + outcome.usage)
    return msgspec.structs.replace(outcome, usage=more + outcome.usage)


def _without_texts(request: Request) -> Request:
    return msgspec.structs.replace(request, texts=(), characters=0, input="", turn=0)


def _join(requests: Sequence[Request]) -> Request:
    return msgspec.structs.replace(
        requests[0],
        texts=[text for request in requests for text in request.texts],
        characters=sum(request.characters for request in requests),
    )


def _divide(reply: Reply, requests: Sequence[Request]) -> list[Reply]:
    """A reply for each request, with its own vectors."""
    vectors = iter(reply.vectors)
    return [
        Reply(vectors=list(islice(vectors, len(request.texts))), usage=share)
        for request, share in zip(requests, _shares(reply.usage, requests), strict=True)
    ]


def _shares(usage: Usage, requests: Sequence[Request]) -> list[Usage]:
    """The usage of each request; tokens and dollars are divided in proportion to length, without a rest."""
    sizes = [max(request.characters, 1) for request in requests]
    whole = sum(sizes)
    shares, counted, tokens = [], 0, 0
    for size in sizes:
        counted += size
        share = usage.prompt_tokens * counted // whole - tokens
        tokens += share
        shares.append(Usage(requests=usage.requests, prompt_tokens=share, cost_usd=usage.cost_usd * size / whole))
    return shares
