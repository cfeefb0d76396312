"""TRL's conversational prompt-completion type: with loss on the answer only.

Source: https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from typing import Any

from jobs.records import Example
from jobs.tuning.chat_file import messages
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]


def _row(example: Example, system_prompt: str) -> dict[str, Any]:
    *prompt, answer = messages(example, system_prompt)
    return {"prompt": prompt, "completion": [answer]}


exporter = JsonLines(_row)
