"""`gristmill export`: the examples of a finished run as files of a format, or its training data on the Hub."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import BadInput
from jobs.config import Config
from jobs.registry import declared
from jobs.run.folder import RunFolder, beginning
from jobs.tuning.exporters import load_exporter
from jobs.tuning.shortage import shortage

__all__ = ["export_to", "push_to"]


def export_to(folder: RunFolder, settings: Config, *, format: str, path: Path, partial: bool) -> None:
    """Write the examples to `path` and print how many rows each file has.

    Raises `BadInput` for a run without examples, and for an unfinished run unless `partial` is set; nothing is written
    then.
    """
    from jobs.tuning.export import export

    load_exporter(format)
    _check_finished(folder, partial=partial)
    examples = folder.datasets()["examples"].rows()
    counts = export(format, examples, path, system_prompt=settings.export.system_prompt, seed=settings.seed)
    for name, rows in counts.items():
        print(f"{name}: {rows} rows" if rows else f"{name}: no rows, and so no file")


def push_to(folder: RunFolder, repository: str, *, public: bool, partial: bool) -> None:
    """Upload the run's ``dataset/`` to the Hub and print its address; raises `BadInput` as `export_to` does."""
    from jobs.tuning.hub import push

    _check_finished(folder, partial=partial)
    if not (folder.dataset / "README.md").exists():
        raise BadInput(f"{folder.dataset} is not written yet: go on with the run by gristmill evaluate {folder.path}")
    print(push(folder.dataset, repository, public=public))


def _check_finished(folder: RunFolder, *, partial: bool) -> None:
    datasets = folder.datasets()
    missing = _missing(folder)
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


_AFTER = ("respond", "similarity", "judge")
"""Jobs behind the examples."""
