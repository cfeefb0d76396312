"""``models.json``: every tuning job of a run, and the model that was made from the present dataset.

It is written before each wait, so that a restart resumes what was begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from engine.errors import BadInput, Fatal
from engine.files import naming_the_disk, write_atomic
from jobs.models.gguf import Served
from jobs.tuning.job_states import is_failure
from jobs.tuning.lora.protocol import LoraSettings

__all__ = [
    "MIN_EXAMPLES",
    "Hyperparameters",
    "Ledger",
    "LocalJob",
    "Models",
    "ProviderJob",
    "read_models",
    "served",
    "tuned_model",
]

MIN_EXAMPLES = 10
"""Providers refuse fewer training examples."""


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider trains; None leaves the choice to the provider."""

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    seed: int | None = None


class _Job(msgspec.Struct, frozen=True, kw_only=True, tag_field="backend"):
    """``key`` is a hash of what is trained and how. ``endpoint`` is the base URL without credentials, "" on this
    machine.

    ``tuned_model`` is the name of the resulting model.
    """

    key: str
    endpoint: str = ""
    base_model: str
    training_file_sha256: str
    validation_file_sha256: str | None
    status: str
    tuned_model: str | None = None
    error: str | None = None


class ProviderJob(_Job, frozen=True, kw_only=True, tag="openai"):
    """A job at a provider.

    ``status`` is "uploading", "uploaded", then the provider's word, such as "queued" or "running", and in the end
    "succeeded" or a word for a failure. A failed job is not resumed.
    """

    settings: Hyperparameters
    status: str = "uploading"
    training_file_id: str | None = None
    validation_file_id: str | None = None
    job_id: str | None = None


class LocalJob(_Job, frozen=True, kw_only=True, tag="lora"):
    """A job on this machine. ``status`` is "training", then "succeeded".

    ``adapter`` is the file in ``tuning/KEY`` that is served over the base, or ``model`` the file that replaces the
    base.
    """

    settings: LoraSettings
    status: str = "training"
    adapter: str | None = None
    model: str | None = None


J = TypeVar("J", ProviderJob, LocalJob)


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """What ``models.json`` holds: every job, oldest first, and under "tuned" the model made from the present
    dataset."""

    jobs: tuple[ProviderJob | LocalJob, ...] = ()
    models: Mapping[str, str] = msgspec.field(default_factory=dict)


class Ledger(Generic[J]):
    """The current job and its entry in the ``models.json`` at `path`: the existing entry of `wanted`, or a new one."""

    def __init__(self, path: Path, wanted: J) -> None:
        self._path = path
        models = read_models(path)
        same = [
            job
            for job in models.jobs
            if isinstance(job, type(wanted)) and (job.key, job.endpoint) == (wanted.key, wanted.endpoint)
        ]
        self.job: J = next((job for job in reversed(same) if not is_failure(job.status)), wanted)
        self._others = tuple(job for job in models.jobs if job is not self.job)

    async def save(self, **changes: Any) -> None:
        """Change the job and write it; it is on the disk when this returns."""
        self.job = msgspec.structs.replace(self.job, **changes)
        tuned = {"tuned": self.job.tuned_model} if self.job.tuned_model else {}
        data = msgspec.json.encode(Models(jobs=(*self._others, self.job), models=tuned))
        with naming_the_disk(self._path):
            await asyncio.to_thread(write_atomic, self._path, msgspec.json.format(data) + b"\n")


def tuned_model(folder: Path) -> str | None:
    """The name of the model tuned on the run's dataset, None if there is none yet."""
    return read_models(folder / "models.json").models.get("tuned")


def served(folder: Path, base_name: str) -> Served | None:
    """The files of the tuned model of the run in `folder`, None if it was not tuned on this machine.

    Raises `BadInput` when its base was not `base_name`.
    """
    models = read_models(folder / "models.json")
    name = models.models.get("tuned")
    job = next((job for job in models.jobs if isinstance(job, LocalJob) and job.tuned_model == name), None)
    if job is None:
        return None
    if job.base_model != base_name:
        raise BadInput(f"the tuned model was made from {job.base_model}, not {base_name}: run gristmill finetune again")
    home = folder / "tuning" / job.key
    return Served(adapter=home / job.adapter if job.adapter else None, model=home / job.model if job.model else None)


def read_models(path: Path) -> Models:
    """Read a ``models.json``. An absent one is empty. Raises `Fatal` for one that cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Models)
    except FileNotFoundError:
        return Models()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"{path} is damaged ({error}); restore it, or delete it to search for its jobs again") from error
