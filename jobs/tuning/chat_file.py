"""Lines of OpenAI's chat format: how an example becomes one, and what a provider would refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import BadInput
from jobs.records import Example

__all__ = ["chat_line", "chat_row", "check_chat_line", "json_line", "messages", "system_text"]

MAX_LINE_BYTES = 1 << 20  # more than the longest context that OpenAI trains on (65,536 tokens) can hold

_LINE_BREAKS = "\x85\u2028\u2029"
_ROLES = ("assistant", "developer", "system", "tool", "user")


def chat_line(example: Example, system_prompt: str) -> bytes:
    """One line of OpenAI's chat format: system, user (the retrieval-augmented prompt), assistant (the answer)."""
    return json_line(chat_row(example, system_prompt))


def chat_row(example: Example, system_prompt: str) -> dict[str, Any]:
    """The object of that line: ``messages`` and nothing else."""
    return {"messages": messages(example, system_prompt)}


def messages(example: Example, system_prompt: str) -> list[dict[str, str]]:
    """The turns of `example`. There is no system turn when `system_prompt` is empty, because providers refuse an empty
    one."""
    turns = {"system": system_text(example, system_prompt), "user": example.prompt, "assistant": example.answer}
    return [{"role": role, "content": content} for role, content in turns.items() if content or role != "system"]


def system_text(example: Example, system_prompt: str) -> str:
    """`system_prompt` with ``{title}`` replaced by the title of the example's paper. All other braces stay."""
    return system_prompt.replace("{title}", example.title)


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of UTF-8. Characters that some readers (``str.splitlines``) take for a line break are escaped."""
    line = msgspec.json.encode(row)
    for character in _LINE_BREAKS:
        line = line.replace(character.encode(), b"\\u%04x" % ord(character))
    return line + b"\n"


def check_chat_line(line: bytes) -> None:
    """Raise `BadInput` with the reason for a line that OpenAI's fine-tuning would refuse.

    Checked: UTF-8 without a byte order mark, one JSON object, at most 1 MiB, only ``messages``, known roles, text in
    every message, the last one from the assistant.
    Source: https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep and the API reference.
    """
    reason = _refusal(line)
    if reason:
        raise BadInput(f"not a line of a chat training file: {reason}")


def _refusal(line: bytes) -> str | None:
    if len(line) > MAX_LINE_BYTES:
        return f"{len(line)} bytes, more than {MAX_LINE_BYTES}"
    try:
        row = json.loads(line.decode("utf-8"))
    except ValueError as error:
        return f"not JSON in UTF-8: {error}"
    if not isinstance(row, dict) or set(row) != {"messages"}:
        return "not an object that holds messages and nothing else"
    turns = row["messages"]
    if not isinstance(turns, list) or not turns:
        return "no messages"
    for turn in turns:
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            return "a message is not a role and a content"
        if turn["role"] not in _ROLES:
            return f"the role {turn['role']!r} is none of {', '.join(_ROLES)}"
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            return f"the {turn['role']} message holds no text"
    if turns[-1]["role"] != "assistant":
        return "the last message is not from the assistant"
    return None
