"""A simulated server with limits, in virtual time, and requests to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import Transient
from engine.requests import Reply, Request, ServerLimits, Usage


class Bucket:
    """The server's: exact, continuous, and with no debt."""

    def __init__(self, per_minute: float, seconds: float) -> None:
        self.rate = per_minute / 60
        self.level = self.capacity = self.rate * seconds
        self.at = 0.0

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now


@dataclass
class Server:
    """Two token buckets. It counts tokens in its own way, and tells of them in headers if asked to."""

    requests_per_minute: float = 1e9
    tokens_per_minute: float = 1e9
    bucket_s: float = 10.0
    characters_per_token: float = 4.7
    counts_most: bool = True  # prompt and most output, like OpenAI; else what was really written
    headers: bool = True
    told_at_reply: bool = False
    latency_s: Callable[[random.Random], float] = lambda chance: chance.lognormvariate(0, 0.4)
    seed: int = 0
    admitted: int = 0
    rejected: int = 0
    counted: float = 0.0
    last_admitted_at: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.requests = Bucket(self.requests_per_minute, self.bucket_s)
        self.tokens = Bucket(self.tokens_per_minute, self.bucket_s)

    async def __call__(self, request: Request) -> Reply:
        await asyncio.sleep(self.chance.uniform(0.005, 0.03))
        loop = asyncio.get_running_loop()
        prompt = round(request.characters / self.characters_per_token * self.chance.uniform(0.9, 1.1))
        output = min(request.max_output_tokens, round(self.chance.lognormvariate(4.4, 0.4)))
        counts = prompt + (request.max_output_tokens if self.counts_most else output)
        self.requests.refill(loop.time())
        self.tokens.refill(loop.time())
        if self.requests.level < 1 or self.tokens.level < counts:
            self.rejected += 1
            wait_s = max(
                (1 - self.requests.level) / self.requests.rate, (counts - self.tokens.level) / self.tokens.rate
            )
            raise Transient("429", kind="rate_limited", retry_after_s=wait_s, server_limits=self.told())
        self.requests.level -= 1
        self.tokens.level -= counts
        self.admitted += 1
        self.counted += counts
        self.last_admitted_at = loop.time()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        told = self.told()
        await asyncio.sleep(self.latency_s(self.chance))
        self.in_flight -= 1
        self.requests.refill(loop.time())
        self.tokens.refill(loop.time())
        usage = Usage(requests=1, prompt_tokens=prompt, completion_tokens=output)
        return Reply(usage=usage, server_limits=self.told() if self.told_at_reply else told)

    def told(self) -> ServerLimits | None:
        if not self.headers:
            return None
        return ServerLimits(
            limit_requests=int(self.requests_per_minute),
            remaining_requests=int(self.requests.level),
            reset_requests_s=round((self.requests.capacity - self.requests.level) / self.requests.rate, 3),
            limit_tokens=int(self.tokens_per_minute),
            remaining_tokens=int(self.tokens.level),
            reset_tokens_s=round((self.tokens.capacity - self.tokens.level) / self.tokens.rate, 3),
        )

    @property
    def requests_used(self) -> float:
        """The share of the requests that it would have allowed."""
        return self.admitted / (self.requests.capacity + self.requests.rate * self.last_admitted_at)

    @property
    def tokens_used(self) -> float:
        return self.counted / (self.tokens.capacity + self.tokens.rate * self.last_admitted_at)


def some_requests(count: int) -> list[Request]:
    """Two jobs, turn about, of different lengths."""
    chance = random.Random(7)
    return [
        a_request(characters=chance.randrange(2000, 8000), max_output_tokens=256, job="answer")
        if i % 2
        else a_request(characters=chance.randrange(1000, 4000), max_output_tokens=400, job="ask")
        for i in range(count)
    ]


def a_request(*, characters: int = 4000, max_output_tokens: int = 256, job: str = "ask") -> Request:
    return Request(to="generator", characters=characters, max_output_tokens=max_output_tokens, job=job)
