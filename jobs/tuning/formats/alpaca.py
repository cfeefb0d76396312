"""Alpaca's format: ``instruction``, ``input`` (empty), ``output`` and ``system``, one object per line."""

from __future__ import annotations

from typing import Any

from jobs.records import Example
from jobs.tuning.chat_file import system_text
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]


def _row(example: Example, system_prompt: str) -> dict[str, Any]:
    row = {"instruction": example.prompt, "input": "", "output": example.answer}
    return {**row, "system": system_text(example, system_prompt)}


exporter = JsonLines(_row)
