"""Chats become tokens, with a mask of those that have loss.

The text is the output of the model's own chat template, which the server uses too when the model is asked. A prompt
and its answer are tokenized separately, as in inference: the prompt is read, then the answer is generated. Answers
have loss, with the token that ends each; everything before them, contexts and distractors included, is masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.errors import BadInput

__all__ = ["IGNORED", "Chats", "Tokenizer", "Tokens", "read_chats", "shortened", "tokens"]

IGNORED = -100
"""The label of a token without loss, as in torch and every trainer."""

_LEAST_PROMPT = 32
"""The fewest tokens that remain of a prompt; an example with fewer is left out."""

Message = Mapping[str, str]


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One example: `ids`, and `labels` with the same id for each token that has loss, else `IGNORED`."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def trained(self) -> int:
        """How many tokens have loss. The first has none, because no token precedes it."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chats:
    """The examples of one file, and how many were shortened and left out."""

    examples: list[Tokens]
    shortened: int
    left_out: int


def read_chats(path: Path, tokenizer: Tokenizer, max_length: int) -> Chats:
    """The examples in `path`, chat JSONL, each of at most `max_length` tokens (see `shortened`); none if it is
    absent."""
    whole = [tokens(messages, tokenizer) for messages in _chats(path)] if path.exists() else []
    cut = [shortened(example, max_length) for example in whole]
    kept = [example for example in cut if example is not None]
    return Chats(
        examples=kept,
        shortened=sum(after is not None and after is not before for before, after in zip(whole, cut, strict=True)),
        left_out=len(cut) - len(kept),
    )


def tokens(messages: Sequence[Message], tokenizer: Tokenizer) -> Tokens:
    """Tokens of one chat: each turn of the assistant has loss, all else is masked.

    Raises `BadInput` for a model without a chat template, and for a template that changes earlier messages.
    """
    ids: list[int] = []
    labels: list[int] = []
    encoded = ""
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = _rendered(messages[:number], tokenizer, ask=True)
            spoken = _rendered(messages[: number + 1], tokenizer, ask=False)
            if not (prompt.startswith(encoded) and spoken.startswith(prompt)):
                raise BadInput("the base model's chat template changes earlier messages: it cannot be tuned on chats")
            read = _tokenized(prompt[len(encoded) :], tokenizer)
            answer = _tokenized(spoken[len(prompt) :].rstrip(), tokenizer)  # what ends a turn, not the line break after
            ids += [*read, *answer]
            labels += [*([IGNORED] * len(read)), *answer]
            encoded = prompt + spoken[len(prompt) :].rstrip()
    return Tokens(ids=tuple(ids), labels=tuple(labels))


def shortened(example: Tokens, max_length: int) -> Tokens | None:
    """At most `max_length` tokens: the middle of the text before the last answer, where the contexts are, is cut out.

    The system prompt and the question are at its ends and stay, as does the answer. None when the answer leaves no
    room for a prompt.
    """
    excess = len(example.ids) - max_length
    if excess <= 0:
        return example
    masked = [number for number, label in enumerate(example.labels) if label == IGNORED]
    prompt = masked[-1] + 1 if masked else 0
    if prompt - excess < _LEAST_PROMPT:
        return None
    start = (prompt - excess) // 2
    return Tokens(
        ids=example.ids[:start] + example.ids[start + excess :],
        labels=example.labels[:start] + example.labels[start + excess :],
    )


def _chats(path: Path) -> Iterator[Sequence[Message]]:
    with path.open("rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line)["messages"]


def _rendered(messages: Sequence[Message], tokenizer: Tokenizer, *, ask: bool) -> str:
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
    except ValueError as error:
        raise BadInput("the base model has no chat template: use a model that is made for chats") from error
    return text


def _tokenized(text: str, tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # the template wrote the special ones
    return ids
