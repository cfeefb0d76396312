"""Axolotl's ``chat_template`` datasets: ``messages``, one object a line, and ``axolotl.yml`` that names the files.

Source: https://docs.axolotl.ai/docs/dataset-formats/conversation.html. An existing ``axolotl.yml`` is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from jobs.tuning.chat_file import chat_row
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]

_KEYS = {"train": "datasets", "val": "test_datasets"}
_NAME = "axolotl.yml"


def _config(files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
    if (folder / _NAME).exists():
        return {}
    sections = [
        f"{_KEYS[side]}:\n"
        f"  - path: {json.dumps(str(folder / name))}\n"
        "    ds_type: json\n"
        "    split: train\n"
        "    type: chat_template\n"
        "    field_messages: messages\n"
        for side, name in files.items()
    ]
    return {_NAME: ("# Copy these keys into your axolotl configuration.\n" + "".join(sections)).encode()}


exporter = JsonLines(chat_row, more=_config)
