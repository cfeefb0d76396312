"""How one server wants its requests: what a refusal teaches, and what it does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.requests import AnswerSchema, Request
from jobs.config import Model
from jobs.models.openai.dialect import dialect_of
from jobs.models.openai.words import Words

PROMPT = "Context: the temperature of the system, which is invalid for max_tokens, only plays a role at low energies."


def a_request(**settings: Any) -> Request:
    messages = [{"role": "system", "content": "Answer from the context."}, {"role": "user", "content": PROMPT}]
    defaults = {"to": "generator", "messages": messages, "characters": len(PROMPT), "max_output_tokens": 100}
    return Request(**(defaults | settings))


@pytest.mark.parametrize(
    ("message", "learned"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
        ("Conversation roles must alternate user/assistant", "system"),
        ("'max_tokens' is not supported with this model; use 'max_completion_tokens'", "length"),
    ],
)
def test_a_refusal_teaches(message: str, learned: str) -> None:
    """A refusal that names a parameter of the request changes that, and nothing else."""
    dialect = dialect_of(Model(), "example.org")
    before = {name: getattr(dialect, name) for name in ("temperature", "system", "length", "form")}

    assert dialect.learn(Words(message=message), a_request())

    assert {name for name, value in before.items() if getattr(dialect, name) != value} == {learned}
    assert dialect.version == 1


@pytest.mark.parametrize(
    "message",
    [
        f"Your input could not be processed: {PROMPT}",
        f"400: the text was not taken: '...{PROMPT[20:80]}...'",
        "The input was flagged by moderation: the word temperature is invalid here",
        "This is against our usage policies (content_filter): system instruction",
        "This model's maximum context length is 4096 tokens; 'max_tokens' is not supported above that",
    ],
)
def test_a_refusal_of_the_prompt_teaches_nothing(message: str) -> None:
    """What a server quotes from the prompt, and what it says about its content or its length, is no lesson."""
    dialect = dialect_of(Model(), "example.org")

    assert dialect.learn(Words(message=message), a_request()) is None
    assert dialect == dialect_of(Model(), "example.org")


def test_what_was_not_sent_is_not_refused() -> None:
    """A request without a form, a system prompt or alternatives teaches nothing about them; one with them does."""
    words = [
        Words(message="the grammar of the request is broken"),
        Words(message="top_logprobs is unknown"),
        Words(message="system role not supported"),
    ]
    dialect, plain = dialect_of(Model(), "example.org"), [{"role": "user", "content": "Why?"}]

    assert [dialect.learn(each, a_request(messages=plain)) for each in words] == [None, None, None]
    asked = a_request(schema=AnswerSchema(name="a", schema={}), alternatives=10)
    assert all(dialect.learn(each, asked) for each in words)


def test_words_without_a_quote() -> None:
    """Only what both share at length is left out; the server's own words stay."""
    words = Words(message=f"not taken: {PROMPT} (temperature)", codes=("bad",))

    kept = words.without([PROMPT])

    assert kept.message.split() == ["not", "taken:", "(temperature)"]
    assert msgspec.structs.replace(kept, message="") == msgspec.structs.replace(words, message="")
