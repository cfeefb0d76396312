"""``tuning/losses.jsonl``: the loss at each step, which the report plots."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from engine.files import naming_the_disk, write_atomic

__all__ = ["Loss", "LossLog", "read_losses"]


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``tuning/losses.jsonl``: the loss on training or validation data at a step, None if not computed."""

    step: int
    epoch: float
    train: float | None = None
    val: float | None = None


class LossLog:
    """The file at `path`, cut to the steps up to `after`; a resumed training writes the others again."""

    def __init__(self, path: Path, *, after: int) -> None:
        lines = [msgspec.json.encode(loss) + b"\n" for loss in read_losses(path) if loss.step <= after]
        with naming_the_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, b"".join(lines))
            self._file = path.open("ab", buffering=0)
        self._path = path

    def add(self, loss: Loss) -> None:
        with naming_the_disk(self._path):
            self._file.write(msgspec.json.encode(loss) + b"\n")

    def close(self) -> None:
        self._file.close()


def read_losses(path: Path) -> list[Loss]:
    """Every line of `path`, without a last line that a kill tore. An absent file has none."""
    if not path.exists():
        return []
    losses = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            losses.append(msgspec.json.decode(line, type=Loss))
    return losses
