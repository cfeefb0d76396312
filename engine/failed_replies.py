"""What was answered to the inputs of a shard that failed, so that one can see why.

While a shard is open, a reply stands in its checkpoint beside the failure. What finishes the seal of a decided shard
writes the replies to a file beside it, ``00000.replies.json``, in the order of the inputs, before ``.done.json``;
opening the shard again takes them back into the checkpoint. So a kill at any instant loses none, and the same answers give the same bytes. They stand neither
in rows nor in the seal, because a server may write another time or number into each answer, and because runs that were
made before have none. Nothing depends on the file: if it is lost or damaged, only the replies are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.files import sync_folder, write_atomic

__all__ = ["REPLY_CHARACTERS", "read_replies", "write_replies"]

REPLY_CHARACTERS = 2000
"""The most characters that are kept of one reply."""


def read_replies(path: Path) -> dict[str, str]:
    """The replies in the file at `path` by the id of their input; none where it is missing or damaged; blocks."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def write_replies(path: Path, replies: Mapping[str, str]) -> None:
    """Write `replies`, or delete the file where there are none; blocks. Raises `OSError` when the disk fails."""
    if replies:
        write_atomic(path, msgspec.json.format(msgspec.json.encode(replies), indent=1) + b"\n")
    elif path.exists():
        path.unlink()
        sync_folder(path.parent)  # else a crash could bring it back
