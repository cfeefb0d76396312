"""Estimates of the tokens of a request before it is sent: its true length, and what the server will count.

`Estimates` learns from answers: characters per token over all requests, output length per job (the 95th percentile, so
that most answers fit the reservation). `Tariff` learns from the remaining tokens that the server reports: some servers
count the tokens that were generated, some (OpenAI) the most that may be generated, and each has its own tokenizer.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import msgspec

from engine.requests import Request, Usage

__all__ = ["Estimate", "Estimates", "Tariff"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one request: its prompt, the likely length of its answer, and the greatest length of its answer."""

    prompt: float
    output: float
    most_output: float

    @property
    def likely(self) -> float:
        return self.prompt + self.output

    @property
    def most(self) -> float:
        return self.prompt + self.most_output


class Estimates:
    """Tokens by characters and by job, learned from the usage of earlier answers."""

    __slots__ = ("_characters", "_outputs", "_tokens")

    def __init__(self) -> None:
        self._characters = 4.0  # English has about four characters per token; the first answer nearly replaces this
        self._tokens = 1.0
        self._outputs: dict[str, _Outputs] = {}

    @property
    def tokens_per_character(self) -> float:
        return self._tokens / self._characters

    def of(self, request: Request) -> Estimate:
        prompt = request.characters * self.tokens_per_character
        most = float(request.max_output_tokens)
        outputs = self._outputs.get(request.job)
        return Estimate(
            prompt=prompt, output=most if outputs is None else min(most, outputs.likely(most)), most_output=most
        )

    def learn(self, request: Request, usage: Usage) -> None:
        """Learn from the true usage of one answer; an answer without usage changes nothing."""
        if usage.prompt_tokens <= 0:
            return
        self._characters = 0.98 * self._characters + request.characters
        self._tokens = 0.98 * self._tokens + usage.prompt_tokens
        if request.max_output_tokens:
            outputs = self._outputs.get(request.job)
            if outputs is None:
                outputs = self._outputs[request.job] = _Outputs()
            outputs.add(usage.completion_tokens)


class _Outputs:
    """The lengths of a job's last hundred answers, in order of time and of size."""

    __slots__ = ("_by_size", "_by_time")
    _ENOUGH, _KEPT, _FLOOR, _QUANTILE = 16, 100, 16.0, 0.95

    def __init__(self) -> None:
        self._by_time: deque[int] = deque()
        self._by_size: list[int] = []

    def likely(self, most: float) -> float:
        """The 95th percentile; `most` until there are enough answers."""
        if len(self._by_size) < self._ENOUGH:
            return most
        return max(self._FLOOR, self._by_size[int(self._QUANTILE * len(self._by_size))])

    def add(self, tokens: int) -> None:
        if len(self._by_time) == self._KEPT:
            del self._by_size[bisect_left(self._by_size, self._by_time.popleft())]
        self._by_time.append(tokens)
        insort(self._by_size, tokens)


class Sent(msgspec.Struct, frozen=True):
    """The sums over all requests just after one was sent; in characters, because their tokens are known better later."""

    at: float
    characters: float
    output: float
    most_output: float


class Tariff:
    """What the server counts for a request, as a factor near 1 of the likely or of the greatest tokens.

    Between two of its replies the server counted (remaining then - remaining now + refilled). This is compared with
    both estimates of the requests sent in between, and the nearer one is used. Until then, a server that reports what
    remains is assumed to count the greatest tokens, as OpenAI does; one that reports nothing, the generated ones.
    """

    __slots__ = (
        "_characters",
        "_from",
        "_from_remaining",
        "_likely_factor",
        "_most_factor",
        "_most_output",
        "_output",
        "_span_s",
    )

    def __init__(self, *, span_s: float = 0.5) -> None:
        """Replies are compared that lie ``span_s`` seconds of the rate apart, or more."""
        self._span_s = span_s
        self._characters = 0.0
        self._output = 0.0
        self._most_output = 0.0
        self._likely_factor: float | None = None
        self._most_factor: float | None = None
        self._from: Sent | None = None
        self._from_remaining = 0.0

    def charge(self, estimate: Estimate) -> float:
        """The tokens that the server will probably count for the request."""
        if self._from is None:
            return estimate.likely
        if self._likely_factor is None or self._most_factor is None:
            return estimate.most
        if _distance(self._most_factor) < _SURELY * _distance(self._likely_factor):
            return estimate.most * _bounded(self._most_factor)
        return estimate.likely * _bounded(self._likely_factor)

    def add(self, request: Request, estimate: Estimate) -> None:
        """Record that the request is sent now."""
        self._characters += request.characters
        self._output += estimate.output
        self._most_output += estimate.most_output

    def sums(self, at: float) -> Sent:
        return Sent(at, self._characters, self._output, self._most_output)

    def hear(self, sent: Sent) -> None:
        """The server reports what remains; what it counts is learned elsewhere, from the replies to all processes."""
        if self._from is None:
            self._from = sent

    def follow(self, likely_factor: float | None, most_factor: float | None) -> None:
        """Go by factors that were learned elsewhere, of a server that reports what remains."""
        self._from = self._from or self.sums(0.0)
        self._likely_factor, self._most_factor = likely_factor, most_factor

    @property
    def factors(self) -> tuple[float | None, float | None] | None:
        """What `follow` needs; None while the server has reported nothing."""
        return None if self._from is None else (self._likely_factor, self._most_factor)

    def learn(self, sent: Sent, remaining: float, *, rate: float, tokens_per_character: float, near_full: bool) -> None:
        """Learn from what remained after the request of `sent`; ``rate`` is the refill in tokens per second."""
        start = self._from
        # A full bucket refills no further, so a time in which it may have been full says nothing.
        if start is None or near_full:
            self._from, self._from_remaining = sent, remaining
            return
        prompt = (sent.characters - start.characters) * tokens_per_character
        likely, most = prompt + sent.output - start.output, prompt + sent.most_output - start.most_output
        if likely < rate * self._span_s or sent.at < start.at:
            return
        counted = self._from_remaining - remaining + rate * (sent.at - start.at)
        self._likely_factor = _mixed(self._likely_factor, counted / likely)
        self._most_factor = _mixed(self._most_factor, counted / most)
        self._from, self._from_remaining = sent, remaining


_NEW = 0.3
_SURELY = 1.2  # how much better `likely` must fit: taking too little is rejected, taking too much is corrected


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else (1 - _NEW) * old + _NEW * new


def _bounded(factor: float) -> float:
    return min(1.5, max(0.75, factor))


def _distance(factor: float) -> float:
    """How far a factor is from 1, as a ratio: 0.5 and 2 are equally far."""
    factor = max(factor, 1e-3)
    return max(factor, 1 / factor)
