"""What an answer is billed for, read from its body: tokens by kind, in the spellings of many servers, and dollars.

Whatever a server writes there costs no answer: a number that cannot be one is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from engine.prices import Price
from engine.requests import Usage
from jobs.config import Model

__all__ = ["price_of", "usage_of"]

_PROMPT = ("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens")
_COMPLETION = ("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens")
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_CACHED = (
    "prompt_tokens_details.cached_tokens",  # OpenAI, Azure, OpenRouter, Groq, xAI, vLLM, SGLang, LiteLLM
    "input_tokens_details.cached_tokens",  # OpenAI's Responses
    "prompt_cache_hit_tokens",  # DeepSeek
    "cache_read_input_tokens",  # Anthropic, and LiteLLM for it
    "cached_tokens",  # Moonshot, Cohere
    "cachedContentTokenCount",  # Gemini
    "cacheReadInputTokens",  # Bedrock
)
_WRITTEN = (
    "prompt_tokens_details.cache_write_tokens",  # OpenRouter
    "prompt_tokens_details.cache_creation_tokens",  # LiteLLM
    "cache_creation_input_tokens",  # Anthropic
    "cacheWriteInputTokens",  # Bedrock
)
_REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "reasoning_tokens",  # Perplexity
    "thoughtsTokenCount",  # Gemini
)
_BATCH_TIERS = {"batch", "flex"}
_MOST_TOKENS = 100_000_000
"""More than any request takes: what is above is a mistake."""
_MOST_THOUGHTS = 1_000_000
_MOST_USD = 1000.0


def price_of(model: Model) -> Price:
    """The price of `model`; what is not configured is free."""
    return Price(
        input_usd_per_million=model.input_usd_per_million or 0,
        output_usd_per_million=model.output_usd_per_million or 0,
        cached_input_usd_per_million=model.cached_input_usd_per_million,
        cache_write_usd_per_million=model.cache_write_usd_per_million,
        reasoning_usd_per_million=model.reasoning_usd_per_million,
        batch_discount=model.discount,
    )


def usage_of(body: Any, model: Model, *, batch: bool = False, price: Price | None = None) -> Usage:
    """What the answer `body` of `model` is billed for, as one request. ``price`` is that of the model, where it is known.

    Dollars are those of the configured price; where there is none, those that the server itself says (OpenRouter). The
    batch discount holds for the rows of a `batch`, and for answers of the service tiers "batch" and "flex".
    """
    stated = _stated(body)
    counts = _counts(stated)
    known = _known(tuple(counts))
    prompt, cached, written = _prompt(counts, known)
    completion, reasoning = _completion(counts, known, prompt)
    tier = str(body.get("service_tier")) if isinstance(body, dict) else ""
    dollars = (price or price_of(model)).of_tokens(
        prompt, completion, cached, written, reasoning, batch=batch or tier in _BATCH_TIERS
    )
    return Usage(
        requests=1,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost_usd=dollars if dollars or model.priced else _billed(stated),
        cached=cached or msgspec.UNSET,
        cache_write=written or msgspec.UNSET,
        reasoning=reasoning or msgspec.UNSET,
    )


def _stated(body: Any) -> Mapping[str, Any]:
    """The part of `body` that tells its usage, at OpenAI's place or at Gemini's."""
    if not isinstance(body, dict):
        return {}
    for name in ("usage", "usageMetadata"):
        if isinstance(place := body.get(name), dict):
            return place
    return {}


def _counts(stated: Mapping[str, Any]) -> dict[str, int]:
    """The counts of tokens in `stated` by name; a name that lies one level deep has its parent's and a dot before it.

    They are read once an answer: to look for each known name in `stated` takes five times as long.
    """
    counts: dict[str, int] = {}
    for name, value in stated.items():
        if isinstance(value, dict):
            counts |= {f"{name}.{inner}": _count(deep) for inner, deep in value.items()}
        elif type(value) is int and 0 <= value <= _MOST_TOKENS:
            counts[name] = value
        else:
            counts[name] = _count(value)
    return counts


def _prompt(counts: Mapping[str, int], known: _Known) -> tuple[int, int, int]:
    """The prompt's tokens, and of these the ones that were read from a cache and written to it.

    Anthropic's own count of the prompt leaves both out, as does any that is smaller than the two.
    """
    prompt, cached, written = _first(counts, known.prompt), 0, 0
    if known.cached or known.written:
        cached, written = _first(counts, known.cached), _first(counts, known.written)
    native = "prompt_tokens" not in counts and ("cache_read_input_tokens" in counts or "cacheReadInputTokens" in counts)
    if native or cached + written > prompt:
        prompt += cached + written
    return prompt, cached, written


def _completion(counts: Mapping[str, int], known: _Known, prompt: int) -> tuple[int, int]:
    """The completion's tokens with all thoughts, and the thoughts; xAI and Gemini count these beside the completion."""
    completion, total = _first(counts, known.completion), _first(counts, known.total)
    reasoning = _first(counts, known.reasoning) if known.reasoning else 0
    beside = total - prompt - completion
    if reasoning and (reasoning > completion or beside == reasoning):
        return completion + reasoning, reasoning
    if not reasoning and completion and 0 < beside <= _MOST_THOUGHTS:
        return completion + beside, beside
    return completion, reasoning


class _Known(msgspec.Struct, frozen=True):
    """The names in an answer that tell a number of each kind, the best first."""

    prompt: list[str]
    completion: list[str]
    total: list[str]
    cached: list[str]
    written: list[str]
    reasoning: list[str]


@lru_cache(maxsize=64)
def _known(names: tuple[str, ...]) -> _Known:
    """What of `names` is known: a server writes the same ones in every answer."""
    spellings = (_PROMPT, _COMPLETION, _TOTAL, _CACHED, _WRITTEN, _REASONING)
    return _Known(*([name for name in known if name in names] for known in spellings))


def _first(counts: Mapping[str, int], names: Iterable[str]) -> int:
    for name in names:
        if count := counts[name]:
            return count
    return 0


def _count(value: Any) -> int:
    """`value`, or 0 where it is no count of tokens."""
    if type(value) is not int and not (isinstance(value, float) and value == value // 1):
        return 0
    return int(value) if 0 <= value <= _MOST_TOKENS else 0


def _billed(stated: Mapping[str, Any]) -> float:
    cost = stated.get("cost")
    return (
        float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MOST_USD else 0.0
    )
