"""OpenAI's chat format, that of ``dataset/train.jsonl``: one object with ``messages`` per line."""

from __future__ import annotations

from jobs.tuning.chat_file import chat_row
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]

exporter = JsonLines(chat_row)
