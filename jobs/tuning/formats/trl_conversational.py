"""TRL's conversational language-modeling type: ``messages``, with loss on all of them.

Source: https://huggingface.co/docs/trl/dataset_formats. It is OpenAI's shape, under the name that TRL gives it.
"""

from __future__ import annotations

from jobs.tuning.chat_file import chat_row
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]

exporter = JsonLines(chat_row)
