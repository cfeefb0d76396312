"""LLaMA-Factory's ``sharegpt`` formatting of OpenAI's messages, with the ``dataset_info.json`` that names the files.

Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md. Other entries of an
existing ``dataset_info.json`` are kept, so an export into LLaMA-Factory's own ``data`` folder is possible.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from jobs.tuning.chat_file import chat_row
from jobs.tuning.formats.json_lines import JsonLines

__all__ = ["exporter"]

_NAME = "dataset_info.json"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def _info(files: Mapping[str, str], folder: Path) -> Mapping[str, bytes]:
    entries = _entries(folder / _NAME)
    for side in ("train", "val"):
        entries.pop(f"gristmill_{side}", None)
        if side in files:
            shape = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _TAGS}
            entries[f"gristmill_{side}"] = {"file_name": files[side], **shape}
    return {_NAME: json.dumps(entries, indent=2).encode() + b"\n"}


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise BadInput(f"{path} is no dataset_info.json of LLaMA-Factory: move it away, or export to another folder")
    return entries


exporter = JsonLines(chat_row, more=_info)
