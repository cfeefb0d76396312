"""A run's folder: its configuration, its lock, its datasets, and the name of each of its files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.errors import BadInput, Fatal
from engine.files import lock, make_folder, naming_the_disk, write_atomic
from engine.records import Record
from engine.requests import Usage
from engine.shards import total
from jobs.config import Config
from jobs.registry import REVIEWS, ROWS, Beginning
from jobs.run import configfile

__all__ = ["RunFolder", "beginning"]


class RunFolder:
    """The folder of one run, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "run.toml"
        self.catalogue = path / "papers" / "catalogue.sqlite3"
        self.store = path / "index" / "store"
        self.dataset = path / "dataset"
        self.models = path / "models.json"
        self.tuning = path / "tuning"
        self.losses = self.tuning / "losses.jsonl"
        self.batches = path / "batches"
        self.log = path / "run.log"
        self.discarded = path / "discarded.json"
        self.preflight = path / "preflight.json"
        self.reviews = path / REVIEWS

    @property
    def exists(self) -> bool:
        return self.settings.exists()

    def datasets(self) -> dict[str, Dataset[Any]]:
        """Every dataset by its name, in the order in which they are made; they may have no shards yet."""
        return {name: Dataset(self.path / name, row) for name, row in ROWS.items()}

    def config(self) -> Config:
        """The configuration of the run's last process; raises `BadInput` when this is no run."""
        return configfile.validate(self.table())

    def table(self) -> dict[str, Any]:
        """That configuration as a TOML table; raises `BadInput` when this is no run.

        A run that was made before parsers had names goes on to read PDF files only.
        """
        if not self.exists:
            raise BadInput(f"{self.path} is not a run (it has no run.toml); make one with gristmill run PAPERS --out")
        table = configfile.load(self.settings)
        if isinstance(parsing := table.get("parse"), dict):
            parsing.setdefault("parser", "pdf")
        return table

    def check_usable(self) -> None:
        """Raise `BadInput` unless this is a run, or a folder that can become one."""
        if self.exists:
            return
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; name a folder with --out")
        try:
            strange = self.path.is_dir() and any(not _is_ours(path) for path in self.path.iterdir())
        except OSError as error:
            raise BadInput(f"cannot read the folder {self.path}: {error.strerror}") from error
        if strange:
            raise BadInput(f"{self.path} is not a run, and not empty; choose another --out")

    def paid(self) -> Usage:
        """What the run has cost so far: all rows that are there, of a user's own jobs too, and those discarded; blocks."""
        if not self.path.is_dir():
            return Usage()
        folders = [path for path in sorted(self.path.iterdir()) if path.is_dir() and path.suffix != ".discarded"]
        return total(
            [self.discarded_usage(), self.preflight_usage(), *(Dataset(path, Record).usage() for path in folders)]
        )

    def discarded_usage(self) -> Usage:
        """The cost of the rows that ``--redo`` has discarded; raises `Fatal` for a damaged file; blocks."""
        return _usage_in(self.discarded)

    def add_discarded(self, usage: Usage) -> None:
        """Record the cost of rows that are about to be discarded; blocks."""
        _add_usage(self.discarded, usage)

    def preflight_usage(self) -> Usage:
        """The cost of trying models before they were asked; raises `Fatal` for a damaged file; blocks."""
        return _usage_in(self.preflight)

    def add_preflight(self, usage: Usage) -> None:
        """Record the cost of trying models; blocks."""
        _add_usage(self.preflight, usage)

    def worker(self) -> int | None:
        """The number of the process that works here now, None where none does; nobody is disturbed; blocks."""
        try:
            process = int((self.path / "run.lock").read_text("ascii"))
            os.kill(process, 0)
        except (OSError, ValueError):
            return None
        return process

    @contextlib.contextmanager
    def held(self, config: Config | None) -> Iterator[None]:
        """Create the folder if needed, lock it against other processes, and write `config` to it if given.

        Raises `BadInput` when another process holds the lock.
        """
        with contextlib.ExitStack() as held:
            with naming_the_disk(self.path):
                make_folder(self.path / "papers")
            with naming_the_disk(self.path / "run.lock"):
                held.enter_context(lock(self.path / "run.lock"))
                if config is not None:
                    write_atomic(self.settings, configfile.dump(config))
            yield


def _usage_in(path: Path) -> Usage:
    if not path.exists():
        return Usage()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Usage)
    except msgspec.DecodeError as error:
        raise Fatal(f"{path} is damaged ({error}); restore it, or delete it to forget that cost") from error


def _add_usage(path: Path, usage: Usage) -> None:
    with naming_the_disk(path):
        write_atomic(path, msgspec.json.encode(total([_usage_in(path), usage])) + b"\n")


def _is_ours(path: Path) -> bool:
    """Whether a first run that was killed at once may have left this file."""
    return path.name in ("run.lock", "run.toml.tmp") or (path.name == "papers" and not any(path.iterdir()))


def beginning(datasets: Mapping[str, Dataset[Any]]) -> Beginning:
    """Whether the run of these `datasets` begins with papers, or with the pairs of a file; blocks."""
    return "pairs" if "pairs" in datasets and datasets["pairs"].owner() == "deal" else "papers"
