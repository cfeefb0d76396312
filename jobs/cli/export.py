"""`gristmill export`: the examples of a finished run as files of a format, or its training data on the Hub."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.datasets import Dataset
from engine.errors import BadInput
from jobs.config import Config
from jobs.registry import REVIEWS, declared
from jobs.review.reviewed import reviewed
from jobs.run.folder import RunFolder, beginning
from jobs.tuning.exporters import load_exporter
from jobs.tuning.shortage import shortage
from jobs.tuning.used_examples import used_examples, without_examples

__all__ = ["export_to", "push_to"]


def export_to(folder: RunFolder, settings: Config, *, format: str, path: Path, partial: bool) -> None:
    """Write the examples to `path` and print how many rows each file has.

    Raises `BadInput` for a run without examples, and for an unfinished run unless `partial` is set; nothing is written
    then.
    """
    from jobs.tuning.export import export

    load_exporter(format)
    _check_finished(folder, settings, partial=partial)
    examples = used_examples(_datasets(folder), settings)
    counts = export(format, examples, path, system_prompt=settings.export.system_prompt, seed=settings.seed)
    for name, rows in counts.items():
        print(f"{name}: {rows} rows" if rows else f"{name}: no rows, and so no file")


def push_to(folder: RunFolder, settings: Config, repository: str, *, public: bool, partial: bool) -> None:
    """Upload the run's ``dataset/`` to the Hub and print its address; raises `BadInput` as `export_to` does."""
    from jobs.tuning.hub import push
    from jobs.tuning.stage import is_current

    _check_finished(folder, settings, partial=partial)
    if not (folder.dataset / "README.md").exists():
        raise BadInput(f"{folder.dataset} is not written yet: go on with the run by gristmill evaluate {folder.path}")
    datasets = _datasets(folder)
    if REVIEWS in datasets and not is_current(folder, settings, datasets):
        raise BadInput(f"reviews have changed since {folder.dataset} was written: run gristmill evaluate {folder.path}")
    print(push(folder.dataset, repository, public=public))


def _datasets(folder: RunFolder) -> dict[str, Dataset[Any]]:
    """Those of the run, with the decisions about its pairs if there are any; blocks."""
    datasets = folder.datasets()
    return {**datasets, **(reviewed(folder) if beginning(datasets) == "papers" else {})}


def _check_finished(folder: RunFolder, settings: Config, *, partial: bool) -> None:
    datasets = _datasets(folder)
    missing = _missing(folder) or _unmade(folder, datasets, settings)
    if missing and not partial:
        raise BadInput(f"{missing}; go on with it by the command that began it, or add --partial for what is there")
    if not any(seal.rows for seal in datasets["examples"].seals()):
        raise BadInput(f"{folder.path} has no examples: {shortage(datasets)}")
    if missing:
        print(f"{missing}; what is there is taken", file=sys.stderr)


def _missing(folder: RunFolder) -> str:
    """The unfinished jobs that examples depend on, in words; "" if none is unfinished; blocks."""
    datasets = folder.datasets()
    first = datasets["papers" if beginning(datasets) == "papers" else "pairs"]
    shards = len(first.sealed())
    for job in declared(beginning(datasets)).values():
        if job.writes and not job.optional and job.name not in ("deal", *_AFTER):
            done = len(datasets[job.writes].sealed())
            if done < shards or not shards:
                return f"{folder.path} is not finished: {job.name} has done {done} of {shards} shards"
    return ""


def _unmade(folder: RunFolder, datasets: Mapping[str, Dataset[Any]], settings: Config) -> str:
    count = without_examples(datasets, settings)
    return f"{folder.path} is not finished: {count} reviewed pairs have no examples yet" if count else ""


_AFTER = ("respond", "similarity", "judge")
"""Jobs behind the examples."""
