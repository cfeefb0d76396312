"""What goes to a model and what comes back, whoever serves it. A call is an async function from a `Request` to a `Reply`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["Alternative", "AnswerSchema", "Call", "Reply", "Request", "ServerLimits", "Usage"]


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What was paid for: answered requests, tokens in and out, and dollars where prices are known.

    A request that travels in one batch with others counts like one that travels alone, so that what a record cost does
    not depend on who happened to travel with it.

    Of the prompt's tokens ``cached_tokens`` were read from the provider's cache and ``cache_write_tokens`` written to
    it; of the completion's ``reasoning_tokens`` were thoughts. They are given as ``cached``, ``cache_write`` and
    ``reasoning``, and one that is 0 is not written down.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    cached: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="cached_tokens")
    cache_write: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="cache_write_tokens")
    reasoning: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="reasoning_tokens")

    def __post_init__(self) -> None:
        for name in ("cached", "cache_write", "reasoning"):
            if getattr(self, name) == 0:
                msgspec.structs.force_setattr(self, name, msgspec.UNSET)

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
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            cached=self.cached_tokens + other.cached_tokens,
            cache_write=self.cache_write_tokens + other.cache_write_tokens,
            reasoning=self.reasoning_tokens + other.reasoning_tokens,
        )


class AnswerSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The form that an answer has: a JSON Schema under a name."""

    name: str
    schema: Mapping[str, Any]


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the model might have said first, and the natural logarithm of its probability."""

    token: str
    logprob: float


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model, before anything is known about who serves it, and how it is sent.

    A chat request has ``messages``, each a role ("system", "user", "assistant") and its content. An embedding request
    has ``texts`` in their place; ``query`` says that they are questions to search with, for models that embed questions and
    passages each in a way of their own. ``to`` names the role that answers ("generator", "judge").

    ``characters`` is the length of the prompt, from which its tokens are estimated; ``max_output_tokens`` bounds the
    answer (0 for embeddings). ``schema`` is the form that the answer is to have, None for plain text; ``alternatives``
    is how many tokens the reply tells of that the model might have said first. ``job`` is who asks: output lengths are
    learned by job. Requests of different ``group`` never share a batch. Of those that wait at an endpoint, one of a
    higher ``rank`` goes first.
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


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said of its limits in ``x-ratelimit-*`` headers; None is what it did not say.

    Limits are per minute; remaining is what may be spent now; reset is the time until all of it is back, in seconds.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, what it cost, and what the server said of its limits.

    ``text`` answers a chat request, and is never blank; ``vectors`` answer an embedding request, one for each text, in
    order. ``alternatives`` are those of the first token, where they were asked for and are told. ``first_token_s`` is the
    time from the request to its first token, where the answer was streamed.
    """

    text: str = ""
    vectors: Sequence[Sequence[float]] = ()
    alternatives: Sequence[Alternative] = ()
    usage: Usage
    server_limits: ServerLimits | None = None
    first_token_s: float | None = None


Call = Callable[[Request], Awaitable[Reply]]
