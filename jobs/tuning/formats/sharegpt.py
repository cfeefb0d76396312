"""ShareGPT's format: ``conversations`` of ``from`` (system, human, gpt) and ``value``, one object per line."""

from __future__ import annotations

from typing import Any

from jobs.records import Example
from jobs.tuning.chat_file import messages
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


def _row(example: Example, system_prompt: str) -> dict[str, Any]:
    turns = messages(example, system_prompt)
    return {"conversations": [{"from": _NAMES[turn["role"]], "value": turn["content"]} for turn in turns]}


exporter = JsonLines(_row)
