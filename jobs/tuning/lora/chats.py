"""Chats to tokens: what the model reads, and of it what it is trained to say.

The text is what the model's own chat template makes of the messages, the same that the server makes of them when the
model is asked. A prompt and its answer are tokenized apart, because that is how they meet when the model is asked:
the prompt is read, then the answer is generated. Loss is on the answers, with the mark that ends each; everything
before them, contexts and distractors included, is masked.
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
"""The label of a token without loss, as torch and every trainer have it."""

_LEAST_PROMPT = 32
"""Of a prompt at least so many tokens stay, or the example is left out."""

Message = Mapping[str, str]


class Tokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One example: `ids`, and for each the same id where there is loss on it, else `IGNORED`."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def trained(self) -> int:
        """How many tokens have loss: the first has none, for nothing stands before it."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chats:
    """The examples of one file, with how many were shortened and how many were left out."""

    examples: list[Tokens]
    shortened: int
    left_out: int


def read_chats(path: Path, tokenizer: Tokenizer, max_length: int) -> Chats:
    """The examples in `path`, chat JSONL, each of at most `max_length` tokens, see `shortened`; none where it is not there."""
    whole = [tokens(messages, tokenizer) for messages in _chats(path)] if path.exists() else []
    cut = [shortened(example, max_length) for example in whole]
    kept = [example for example in cut if example is not None]
    return Chats(
        examples=kept,
        shortened=sum(after is not None and after is not before for before, after in zip(whole, cut, strict=True)),
        left_out=len(cut) - len(kept),
    )


def tokens(messages: Sequence[Message], tokenizer: Tokenizer) -> Tokens:
    """Each turn of the assistant has loss; all else is masked.

    Raises `BadInput` for a model without a chat template, and for one whose template changes what was said before.
    """
    ids: list[int] = []
    labels: list[int] = []
    told = ""
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = _rendered(messages[:number], tokenizer, ask=True)
            spoken = _rendered(messages[: number + 1], tokenizer, ask=False)
            if not (prompt.startswith(told) and spoken.startswith(prompt)):
                raise BadInput("the base model's chat template changes earlier messages: it cannot be tuned on chats")
            read = _tokenized(prompt[len(told) :], tokenizer)
            answer = _tokenized(spoken[len(prompt) :].rstrip(), tokenizer)  # what ends a turn, not the line break after
            ids += [*read, *answer]
            labels += [*([IGNORED] * len(read)), *answer]
            told = prompt + spoken[len(prompt) :].rstrip()
    return Tokens(ids=tuple(ids), labels=tuple(labels))


def shortened(example: Tokens, max_length: int) -> Tokens | None:
    """At most `max_length` tokens: the middle of what stands before the last answer goes, where the contexts are.

    What the model is told to be, and the question, stand at the ends and stay, as does the answer. None when the
    answer leaves no room for a prompt.
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
        raise BadInput("the base model has no chat template: take one that is made for chats") from error
    return text


def _tokenized(text: str, tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # the template has written them
    return ids
