from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.parsing import tokens
from jobs.parsing.cleaning import clean
from jobs.parsing.tokens import count_any_tokens, count_tokens

PARTS = [
    "grain",
    "Mills",
    "don't",
    "'s",
    "3",
    "1415",
    "x²",
    "(a)",
    "--",
    "...",
    "漢字",
    "😀",
    "é",
    "\u0301",
    "م",
    "\n\n",
]
SIGNS = st.lists(st.sampled_from([*PARTS, "<|endoftext|>", "<|endof", " ", " "]), max_size=40).map("".join)


@given((SIGNS | st.text()).map(clean), st.integers(0, 50), st.integers(0, 50))
def test_words_are_counted_as_the_whole(text: str, start: int, end: int) -> None:
    """A cleaned text, and any part of it, has the tokens that the encoding says."""
    assert count_tokens(text) == count_any_tokens(text)
    assert count_tokens(text[start:end]) == count_any_tokens(text[start:end])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many words and long ones are counted right, and forgotten."""
    monkeypatch.setattr(tokens, "MOST_KEPT", 10)
    text = " ".join([*(f"word{number}" for number in range(100)), "x" * 1000])
    assert count_tokens(text) == count_any_tokens(text)
    assert len(tokens._sizes(" ")) <= 10


def test_the_tokenizer_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables come from LlamaIndex's package, whatever the variable says, and it says the same afterwards."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/nowhere")
    tokens._encoding.cache_clear()
    assert count_any_tokens("Some text.") == 3
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/nowhere"
