"""Requests to a model and its replies, for any provider. A call is an async function from a `Request` to a `Reply`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["NOTHING_USED", "Alternative", "AnswerSchema", "Call", "Reply", "Request", "ServerLimits", "Usage"]


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What was paid for: answered requests, input and output tokens, and dollars where prices are known.

    A request that is sent in a batch with others counts as one request, so the cost of a record does not depend on its
    batch.

    ``cached_tokens`` of the prompt were read from the provider's cache, ``cache_write_tokens`` were written to it, and
    ``reasoning_tokens`` of the completion were not shown. They are passed as ``cached``, ``cache_write`` and
    ``reasoning``; one that is 0 is not encoded.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    cached: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="cached_tokens")
    cache_write: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="cache_write_tokens")
    reasoning: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="reasoning_tokens")

    def __post_init__(self) -> None:
        if self.cached == 0:
            msgspec.structs.force_setattr(self, "cached", msgspec.UNSET)
        if self.cache_write == 0:
            msgspec.structs.force_setattr(self, "cache_write", msgspec.UNSET)
        if self.reasoning == 0:
            msgspec.structs.force_setattr(self, "reasoning", msgspec.UNSET)

    @property
    def cached_tokens(self) -> int:
        return self.cached or 0

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write or 0

    @property
    def reasoning_tokens(self) -> int:
        return self.reasoning or 0

    def __add__(self, other: Usage) -> Usage:
        if self is NOTHING_USED or other is NOTHING_USED:
            return other if self is NOTHING_USED else self
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            cached=self.cached_tokens + other.cached_tokens,
            cache_write=self.cache_write_tokens + other.cache_write_tokens,
            reasoning=self.reasoning_tokens + other.reasoning_tokens,
        )

    def __sub__(self, part: Usage) -> Usage:
        """The rest, where `part` is a part of this; what rounding would leave below zero dollars is none."""
        return Usage(
            requests=self.requests - part.requests,
            prompt_tokens=self.prompt_tokens - part.prompt_tokens,
            completion_tokens=self.completion_tokens - part.completion_tokens,
            cost_usd=max(0.0, self.cost_usd - part.cost_usd),
            cached=self.cached_tokens - part.cached_tokens,
            cache_write=self.cache_write_tokens - part.cache_write_tokens,
            reasoning=self.reasoning_tokens - part.reasoning_tokens,
        )


NOTHING_USED = Usage()
"""To begin sums with: adding to it costs next to nothing, and most records are done with one reply."""


class AnswerSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The required form of an answer: a JSON Schema and its name."""

    name: str
    schema: Mapping[str, Any]


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """A possible first token of an answer, and the natural logarithm of its probability."""

    token: str
    logprob: float


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model, independent of its provider and of how it is sent.

    A chat request has ``messages``, each with a role ("system", "user", "assistant") and its content. An embedding
    request has ``texts`` instead; ``query`` says that they are search questions, for models that embed questions and
    passages differently. ``to`` names the role that answers ("generator", "judge").

    ``characters`` is the length of the prompt, from which its tokens are estimated; ``max_output_tokens`` bounds the
    answer (0 for embeddings). ``schema`` is the required form of the answer, None for plain text; ``alternatives`` is how
    many possible first tokens the reply lists. ``job`` is the job that sends it: output lengths are learned per
    job. Requests of different ``group`` (one shard) are never joined. Requests of a higher ``rank`` go first at an endpoint.
    ``input`` is the id of the record that asks, and ``turn`` how many requests it has made before this one.
    """

    to: str
    messages: Sequence[Mapping[str, str]] = ()
    texts: Sequence[str] = ()
    query: bool = False
    characters: int
    max_output_tokens: int = 0
    schema: AnswerSchema | None = None
    alternatives: int = 0
    job: str = ""
    group: str = ""
    rank: int = 0
    input: str = ""
    turn: int = 0


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A server's rate limits, from its ``x-ratelimit-*`` headers; None where a header is missing.

    Limits are per minute; remaining is what may be used now; reset is the time until all of it is available again, in
    seconds.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, its cost, and the rate limits that the server stated.

    ``text`` answers a chat request and is never blank; ``vectors`` answer an embedding request, one per text, in order.
    ``alternatives`` are those of the first token, if they were requested and are available. ``first_token_s`` is the
    time from the request to its first token in seconds, if the answer was streamed. ``kept`` says that the answer stays
    on disk until the record is committed, so that the same request gets it again, at no further cost.
    """

    text: str = ""
    vectors: Sequence[Sequence[float]] = ()
    alternatives: Sequence[Alternative] = ()
    usage: Usage
    server_limits: ServerLimits | None = None
    first_token_s: float | None = None
    kept: bool = False


Call = Callable[[Request], Awaitable[Reply]]
