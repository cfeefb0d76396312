from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.requests import Usage
from engine.shards import total
from jobs.config import Config, Model
from jobs.models.openai.streams import assembled
from jobs.models.usage import price_of, usage_of

MODEL = Model(
    model="m",
    input_usd_per_million=10,
    output_usd_per_million=100,
    cached_input_usd_per_million=1,
    cache_write_usd_per_million=12,
    reasoning_usd_per_million=50,
    batch_discount=0.5,
)


NAMES = [
    "usage",
    "prompt_tokens",
    "cached_tokens",
    "prompt_tokens_details",
    "completion_tokens",
    "total_tokens",
    "cost",
    "service_tier",
]
BODIES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.sampled_from(NAMES), values),
)


def counts(told: Any, **more: Any) -> tuple[int, int, int, int, int]:
    """Prompt, cached, written, completion and reasoning tokens of a body with this usage."""
    usage = usage_of({"usage": told, **more}, MODEL)
    assert usage.requests == 1
    return (
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, (100, 0, 0, 20, 0)),
        (  # OpenAI, Azure, OpenRouter, vLLM, SGLang
            {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 64}},
            (100, 64, 0, 20, 0),
        ),
        ({"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": None}, (100, 0, 0, 20, 0)),
        (  # DeepSeek
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            (100, 64, 0, 20, 0),
        ),
        ({"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 64}, (100, 64, 0, 20, 0)),  # Moonshot
        (  # Anthropic's own, which counts what is cached beside the prompt
            {"input_tokens": 6, "output_tokens": 20, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 30},
            (100, 64, 30, 20, 0),
        ),
        (  # LiteLLM for Anthropic
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "cache_read_input_tokens": 64,
                "cache_creation_input_tokens": 30,
            },
            (100, 64, 30, 20, 0),
        ),
        (  # OpenRouter
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 30},
            },
            (100, 64, 30, 20, 0),
        ),
        (  # OpenAI's Responses
            {
                "input_tokens": 100,
                "output_tokens": 20,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens_details": {"reasoning_tokens": 8},
            },
            (100, 64, 0, 20, 8),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 8}},
            (100, 0, 0, 20, 8),
        ),
        (  # xAI counts thoughts beside the completion
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 128,
                "completion_tokens_details": {"reasoning_tokens": 8},
            },
            (100, 0, 0, 28, 8),
        ),
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 128}, (100, 0, 0, 28, 8)),  # Gemini
        ({"prompt_tokens": 100, "total_tokens": 100}, (100, 0, 0, 0, 0)),  # embeddings
    ],
)
def test_spellings(told: dict[str, Any], expected: tuple[int, ...]) -> None:
    """Tokens that were cached, written to a cache or thought are counted in the spelling of each server."""
    assert counts(told) == expected


def test_gemini() -> None:
    """Gemini's own place for usage is read too; its thoughts stand beside the answer."""
    told = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 8,
        "totalTokenCount": 128,
        "cachedContentTokenCount": 64,
    }
    assert counts(None, usageMetadata=told) == (100, 64, 0, 28, 8)


@pytest.mark.parametrize("bad", [-1, "7", True, 1e30, 10**12, 1.5, float("nan"), [], {}, None])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"])
def test_numbers_that_are_none(name: str, bad: Any) -> None:
    """A count that is negative, text, true, absurd or broken is not booked; the others are."""
    told = {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 0, "reasoning_tokens": 0, name: bad}
    good = {**told, name: 0}
    assert counts(told) == counts(good)


@given(BODIES)
def test_no_body_is_an_error(body: Any) -> None:
    """Whatever a body holds, it is one request of no negative tokens and dollars, with no part above its whole."""
    for model in (MODEL, Model(model="m")):
        usage = usage_of(body, model)
        assert usage.requests == 1
        assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
        assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
        assert usage.cost_usd >= 0


def test_dollars() -> None:
    """Each kind of token has its price; where it has none of its own, that of input or output."""
    told = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    cost = usage_of({"usage": told}, MODEL).cost_usd
    assert cost == pytest.approx((10 * 10 + 60 * 1 + 30 * 12 + 12 * 100 + 8 * 50) / 1e6)
    plain = Model(model="m", input_usd_per_million=10, output_usd_per_million=100)
    assert usage_of({"usage": told}, plain).cost_usd == pytest.approx((100 * 10 + 20 * 100) / 1e6)
    free = Model(model="m", input_usd_per_million=10, output_usd_per_million=100, cached_input_usd_per_million=0)
    assert usage_of({"usage": told}, free).cost_usd == pytest.approx((40 * 10 + 20 * 100) / 1e6)


@pytest.mark.parametrize(("tier", "share"), [("batch", 0.5), ("flex", 0.5), ("default", 1), (None, 1), (["batch"], 1)])
def test_batch_prices(tier: Any, share: float) -> None:
    """An answer of the tier batch or flex costs the price without the discount; every other costs all of it."""
    body = {"usage": {"prompt_tokens": 100, "completion_tokens": 20}, "service_tier": tier}
    assert usage_of(body, MODEL).cost_usd == pytest.approx(share * (100 * 10 + 20 * 100) / 1e6)


def test_dollars_that_the_server_says() -> None:
    """Where no price is configured, the dollars are those of the answer; a configured price comes before them."""
    told = {"prompt_tokens": 100, "completion_tokens": 20, "cost": 0.25}
    assert usage_of({"usage": told}, Model(model="m")).cost_usd == 0.25
    assert usage_of({"usage": told}, MODEL).cost_usd == pytest.approx(0.003)
    free = Model(model="m", input_usd_per_million=0, output_usd_per_million=0)
    assert usage_of({"usage": told}, free).cost_usd == 0
    for bad in (-2.0, "1", True, 1e9):
        assert usage_of({"usage": {**told, "cost": bad}}, Model(model="m")).cost_usd == 0


def test_prices_by_name() -> None:
    """[prices] may hold the new prices too; the most that a request may cost takes the dearest."""
    table = {
        "models": {"judge": {"model": "m"}},
        "prices": {
            "m": {
                "input_usd_per_million": 10,
                "output_usd_per_million": 100,
                "cache_write_usd_per_million": 12,
                "cached_input_usd_per_million": 1,
                "reasoning_usd_per_million": 120,
                "batch_discount": 0.25,
            }
        },
    }
    price = price_of(Config.model_validate(table).model("judge"))
    assert price.cached_input_usd_per_million == 1
    assert price.batch_discount == 0.25
    assert price.most_usd(prompt_tokens=10, completion_tokens=1) == pytest.approx((10 * 12 + 120) / 1e6)


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 0.0), ({"batch": True}, 0.5), ({"batch": True, "batch_discount": 0.2}, 0.2), ({"batch_discount": 0.4}, 0.4)],
)
def test_the_discount_of_batches(settings: dict[str, Any], share: float) -> None:
    """A batch's row is priced with the configured discount, or with one half; what is asked by itself is not."""
    model = Model(model="m", input_usd_per_million=10, output_usd_per_million=100, **settings)
    body = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
    assert usage_of(body, model).cost_usd == pytest.approx(0.02)
    assert usage_of(body, model, batch=True).cost_usd == pytest.approx(0.02 * (1 - share))


def stream(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


TEXT = {"choices": [{"delta": {"content": "Good."}, "finish_reason": None}], "usage": None}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
TOLD = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 64}}


@pytest.mark.parametrize(
    "events",
    [
        (TEXT, END, {"choices": [], "usage": TOLD}),
        (TEXT, END, {"choices": None, "usage": TOLD}),
        (TEXT, END, {"usage": TOLD}),
        (TEXT, {**END, "usage": TOLD}),
        ({**TEXT, "usage": {"prompt_tokens": 100, "completion_tokens": 1}}, {**END, "usage": TOLD}),
        ({**TEXT, "usage": TOLD}, {**END, "usage": None}),
        (TEXT, {**END, "x_groq": {"id": "1", "usage": TOLD}}),
    ],
)
def test_usage_in_a_stream(events: tuple[Any, ...]) -> None:
    """The usage of a stream is that of the last event that tells one, wherever it stands in it."""
    body = assembled(stream(*events))
    assert body["choices"][0]["message"]["content"] == "Good."
    assert counts(body["usage"]) == (100, 64, 0, 20, 0)


def test_a_stream_without_usage() -> None:
    """A stream that tells none costs one request."""
    assert usage_of(assembled(stream(TEXT, END)), MODEL) == Usage(requests=1)


def test_what_is_zero_is_not_written() -> None:
    """Usage without cached tokens and thoughts is written as ever, so that seals made before keep their bytes."""
    assert msgspec.json.encode(Usage(requests=1, cached=0, cache_write=0, reasoning=0)) == (
        b'{"requests":1,"prompt_tokens":0,"completion_tokens":0,"cost_usd":0.0}'
    )
    assert Usage(cached=0) == Usage()


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 3)))
def test_usage_adds_up(parts: list[tuple[int, int, int]]) -> None:
    """Each kind of token is summed, written and read back."""
    usages = [Usage(requests=1, cached=a, cache_write=b, reasoning=c) for a, b, c in parts]
    summed = total(usages)
    assert summed == sum(usages, Usage())
    assert [summed.cached_tokens, summed.cache_write_tokens, summed.reasoning_tokens] == [
        sum(part[i] for part in parts) for i in range(3)
    ]
    assert msgspec.json.decode(msgspec.json.encode(summed), type=Usage) == summed
