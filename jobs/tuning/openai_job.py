"""Tune a model through OpenAI's fine-tuning API, at any provider that speaks it: upload, start, wait, name.

Nothing is paid for twice. ``models.json`` is written before each wait, so a restart goes on with what was uploaded or
started. One gap is left: a kill after the provider created the job and before its id was written. So a job is created
only after a search for it in the provider's own list, by the key in its metadata or by its training file. That file is
uploaded again for every job, so it belongs to no other.

Source: https://developers.openai.com/api/docs/guides/supervised-fine-tuning (new jobs end there on 2027-01-06).
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.errors import BadInput, Fatal
from engine.events import Hook
from engine.records import make_id
from jobs.config import Model
from jobs.tuning.chat_file import check_chat_line
from jobs.tuning.events import FinetuneProgress
from jobs.tuning.job_states import State, error_of, is_failure, model_of, state_of
from jobs.tuning.openai_client import Provider, Refused, Sleep, provider_at
from jobs.tuning.tuning_jobs import MIN_EXAMPLES, Hyperparameters, Ledger, ProviderJob

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob as RemoteJob

__all__ = ["finetune"]

MAX_FILE_BYTES = 512 << 20  # more is refused by the provider
NAME_LOOKS = 30
"""How many polls of a succeeded job wait for the name of its model."""


async def finetune(
    *,
    folder: Path,
    base: Model,
    api_key: str,
    hyperparameters: Hyperparameters,
    poll_s: float,
    on_event: Hook,
    sleep: Sleep = asyncio.sleep,
) -> str:
    """Tune the model `base` on ``dataset/train.jsonl`` of the run in `folder` and return the tuned model's name.

    ``dataset/val.jsonl`` is used when it has rows. The job is polled after 1 s, then at intervals that double up to
    `poll_s`. The call may be cancelled, or `sleep` may raise, at any time: the job goes on at the provider, and the
    next call with the same files and settings resumes it. After a failed job the next call starts a new one.

    Raises `BadInput` for a dataset that the provider would refuse, `Fatal` for a refused key, an unknown model, a
    provider that does not answer, and a job that ended without a model, with its reason.

    Parameters: more than six, because what is trained, where, how, and how progress is reported come from four places.
    """
    from jobs.models.connection import connection

    wanted = await asyncio.to_thread(_plan, folder, base.base_url, base.model, hyperparameters)
    ledger = Ledger(folder / "models.json", wanted)
    if ledger.job.tuned_model is None:
        async with provider_at(connection("base", base), base, api_key, sleep) as provider:
            await _upload(provider, ledger, folder / "dataset")
            job = await _start(provider, ledger)
            await _watch(provider, ledger, job, poll_s, on_event)
    await ledger.save()
    return _result(ledger.job)


def _plan(folder: Path, base_url: str, model: str, settings: Hyperparameters) -> ProviderJob:
    """Check both files as the provider does, before anything is sent."""
    training, examples = _checked(folder / "dataset" / "train.jsonl")
    if examples < MIN_EXAMPLES:
        raise BadInput(
            f"{examples} training examples, but fine-tuning takes {MIN_EXAMPLES} or more: "
            "add papers, or raise ask.max_questions or ask.questions_per_chunk"
        )
    validation, held_out = _checked(folder / "dataset" / "val.jsonl")
    url = urlsplit(base_url)
    return ProviderJob(
        key=make_id("openai", model, training, validation if held_out else "", repr(settings)),
        endpoint=f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
        base_model=model,
        training_file_sha256=training,
        validation_file_sha256=validation if held_out else None,
        settings=settings,
    )


def _checked(path: Path) -> tuple[str, int]:
    """The SHA-256 and the number of rows of a chat file, all of whose lines are checked. A file without rows is
    absent."""
    digest = hashlib.sha256()
    if not path.exists():
        return digest.hexdigest(), 0
    rows = 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                rows += 1
                check_chat_line(line)
    except BadInput as error:
        raise BadInput(f"{path}, line {rows}: {error}") from error
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadInput(
            f"{path} is larger than the {MAX_FILE_BYTES >> 20} MiB that can be uploaded: lower ask.max_questions"
        )
    return digest.hexdigest(), rows


async def _upload(provider: Provider, ledger: Ledger[ProviderJob], dataset: Path) -> None:
    if ledger.job.training_file_id is None:
        await ledger.save(training_file_id=await provider.upload(dataset / "train.jsonl"))
    if ledger.job.validation_file_sha256 and ledger.job.validation_file_id is None:
        await ledger.save(validation_file_id=await provider.upload(dataset / "val.jsonl"))


async def _start(provider: Provider, ledger: Ledger[ProviderJob]) -> RemoteJob:
    if ledger.job.job_id:
        return await provider.job(ledger.job.job_id)
    await ledger.save(status="uploaded")
    try:
        job = await provider.find_or_create(_creation(ledger.job))
    except Refused as error:  # the file may be the reason, so no other job uses it
        await ledger.save(status="uploading", training_file_id=None, validation_file_id=None)
        raise Refused(f"{error}; the next run uploads the files again") from None
    await ledger.save(job_id=job.id, status=job.status)
    return job


def _creation(job: ProviderJob) -> dict[str, Any]:
    settings = job.settings
    chosen = {
        "n_epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate_multiplier": settings.learning_rate_multiplier,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    optional = {
        "validation_file": job.validation_file_id,
        "seed": settings.seed,
        "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}} if chosen else None,
    }
    return {
        "model": job.base_model,
        "training_file": job.training_file_id,
        "suffix": f"gristmill-{job.key[:8]}",
        "metadata": {"gristmill": job.key},
        **{name: value for name, value in optional.items() if value is not None},
    }


async def _watch(
    provider: Provider, ledger: Ledger[ProviderJob], job: RemoteJob, poll_s: float, on_event: Hook
) -> None:
    """Report progress until the job has ended. Its status and its model are written to ``models.json`` as they
    arrive."""
    reported: set[str] = set()
    pause_s = min(1.0, poll_s)
    status = None
    nameless = 0
    while True:
        await _report(provider, job, reported, on_event)
        if job.status != status:
            status = job.status
            on_event(_progress(job))
        state = state_of(job)
        nameless += state == "succeeded" and not model_of(job)
        await ledger.save(**_written(job, state, given_up=nameless > NAME_LOOKS))
        if is_failure(ledger.job.status) or ledger.job.tuned_model:
            return
        await provider.sleep(pause_s)
        pause_s = min(poll_s, 2 * pause_s)
        job = await provider.job(job.id)


async def _report(provider: Provider, job: RemoteJob, reported: set[str], on_event: Hook) -> None:
    """Report the provider's messages that are not in `reported` yet."""
    for event in await provider.events(job.id):
        if event.id not in reported:
            reported.add(event.id)
            data = event.data if isinstance(event.data, dict) else {}
            on_event(_progress(job, message=event.message, data=data))


def _written(job: RemoteJob, state: State, *, given_up: bool) -> dict[str, Any]:
    """The status of `job` for `models.json`: the provider's own word while it runs, one of ours after its end."""
    model, error = model_of(job), error_of(job)
    if state == "failed" or given_up:
        return {"status": job.status if is_failure(job.status) else "failed", "error": error}
    if state == "succeeded" and model:
        return {"status": "succeeded", "tuned_model": model, "error": None}
    return {"status": job.status, "error": error}


def _progress(job: RemoteJob, **news: Any) -> FinetuneProgress:
    return FinetuneProgress(job="finetune", job_id=job.id, status=job.status, **news)


def _result(job: ProviderJob) -> str:
    if job.tuned_model:
        return job.tuned_model
    reason = job.error or "the provider gave no reason"
    raise Fatal(f"fine-tuning job {job.job_id} {job.status} without a model: {reason}; fix that and run it again")
