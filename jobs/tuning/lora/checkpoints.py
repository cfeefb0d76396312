"""Checkpoints of a training, each a folder that is complete or absent.

A checkpoint is written under a temporary name: every file, synced, then a manifest with their digests; then it is
renamed. So a kill at any instant leaves the previous one. The digests find later damage: a checkpoint whose bytes do
not match its manifest is skipped in favour of the previous one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.files import file_digest, naming_the_disk, sync_folder, write_atomic

__all__ = ["Checkpoint", "Checkpoints"]

_KEPT = 2
_NAME = re.compile(r"step-(\d{9})")
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The folder that was saved after `step`."""

    step: int
    folder: Path


class Checkpoints:
    """The checkpoints in `folder`; the last two are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, step: int, files: Mapping[str, Callable[[Path], object]]) -> None:
        """Save a checkpoint: each function of `files` writes the path that it gets. Raises `Fatal` for a disk error."""
        with naming_the_disk(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            final = self._folder / f"step-{step:09}"
            temporary = final.with_suffix(".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for name, write in files.items():
                write(temporary / name)
                _sync(temporary / name)
            write_atomic(temporary / _MANIFEST, msgspec.json.encode(_digests(temporary, files)))
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            sync_folder(self._folder)
            self._prune(step)

    def latest(self) -> Checkpoint | None:
        """The last complete and undamaged checkpoint."""
        return next((found for found in reversed(self._there()) if _is_whole(found.folder)), None)

    def _there(self) -> list[Checkpoint]:
        paths = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        found = [(path, _NAME.fullmatch(path.name)) for path in paths]
        return [Checkpoint(step=int(match[1]), folder=path) for path, match in found if match]

    def _prune(self, step: int) -> None:
        """Keep the last two up to `step`. Later ones are damaged: the training did not resume from them."""
        there = self._there()
        kept = [found.folder for found in there if found.step <= step][-_KEPT:]
        for path in self._folder.iterdir():
            if path not in kept:
                shutil.rmtree(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: file_digest(folder / name) for name in names}


def _is_whole(folder: Path) -> bool:
    try:
        digests = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=dict[str, str])
        return _digests(folder, digests) == digests
    except (OSError, msgspec.DecodeError):
        return False
