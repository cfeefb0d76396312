"""One training of the worked example: its examples out of the pairs, its adapter, and the questions that all models get.

Every piece is a run folder or a file that stands when it is whole, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plan import Variant, laid_over

from engine.errors import BadInput
from engine.events import Event
from engine.files import write_atomic
from engine.records import make_id
from engine.signals import Stop
from jobs.api import run_pipeline
from jobs.config import Config
from jobs.records import Chunk, Example
from jobs.run.configfile import validate
from jobs.run.folder import RunFolder
from jobs.tuning.chat_file import chat_line
from jobs.tuning.events import TrainingStep
from jobs.tuning.lora.protocol import LoraSettings
from jobs.tuning.lora.tune import tune

TRAIN_SHARE = 0.62
"""Of all examples, where they are split after augmentation: that of the split by paper."""

_VALIDATED = 16
"""Examples on which the loss of a smaller training is measured, twice: the questions are what it is compared by."""


async def export(work: Path, papers: Path, variant: Variant, settings: Mapping[str, Any], stop: Stop) -> RunFolder:
    """The run of a variant up to its training files. It begins as a copy of the run of the pairs."""
    run = work / variant.name
    if not run.exists():
        partial = work / f"{variant.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(work / "pairs", partial, ignore=shutil.ignore_patterns("run.lock"))
        partial.rename(run)
    await run_pipeline(papers, out=run, settings=laid_over(settings, variant.settings), until="export", stop=stop)
    stop.check()
    return RunFolder(run)


def deal(examples: Iterable[Example], variant: Variant, *, seed: int) -> dict[str, list[Example]]:
    """The examples of both sides, in an order by hash: as they are split, or all of them dealt anew."""
    ordered = sorted(examples, key=lambda example: make_id("worked", seed, example.id))
    if variant.split_after:
        count = round(TRAIN_SHARE * len(ordered))
        sides = {"train": ordered[:count], "val": ordered[count:]}
    else:
        sides = {side: [example for example in ordered if example.split == side] for side in ("train", "val")}
    return {"train": sides["train"][: variant.examples], "val": sides["val"]}


async def train(work: Path, base: Path, variant: Variant, settings: Mapping[str, Any], stop: Stop) -> Path:
    """Tune `base` on the variant's examples; returns its adapter. Raises `BadInput` where there is none to tune on."""
    config = validate(laid_over(settings, variant.settings))
    folder = _dataset(work, variant, config)
    tuning = config.finetune
    await tune(
        folder=folder,
        base=base,
        base_name=base.name,
        settings=LoraSettings(
            epochs=tuning.epochs or 3,
            batch_size=tuning.batch_size or 4,
            learning_rate=tuning.learning_rate,
            rank=tuning.rank,
            alpha=tuning.alpha,
            dropout=tuning.dropout,
            max_length=tuning.max_length,
            precision=tuning.precision,
            seed=config.seed,
        ),
        checkpoint_every=tuning.checkpoint_every,
        validate_every=tuning.validate_every,
        stop=stop,
        hook=lambda event: _told(variant.name, event),
    )
    return adapter_of(folder, work / "adapters", variant.name)


def _dataset(work: Path, variant: Variant, config: Config) -> Path:
    """The folder whose ``dataset/`` the variant trains on: that of its run, or one of its own with fewer or other rows."""
    if not variant.split_after and variant.examples is None:
        return work / variant.name
    sides = deal(_examples(work, variant), variant, seed=config.seed)
    sides["val"] = sides["val"][:_VALIDATED]
    if not sides["train"]:
        raise BadInput(f"{variant.name} has no training example: add papers")
    folder = work / f"{variant.name}-dealt"
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    (folder / "tuning").mkdir(exist_ok=True)
    for side, rows in sides.items():
        lines = b"".join(chat_line(row, config.export.system_prompt) for row in rows)
        write_atomic(folder / "dataset" / f"{side}.jsonl", lines)
    return folder


def adapter_of(folder: Path, adapters: Path, name: str) -> Path:
    """The adapter that was trained in `folder`, in peft's format, as a folder of its own in `adapters`."""
    job = json.loads((folder / "models.json").read_text("utf-8"))["jobs"][-1]
    named = adapters / f"{name}-{job['key'][:8]}"
    if not named.exists():
        adapters.mkdir(exist_ok=True)
        partial = adapters / f".{named.name}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder / "tuning" / job["key"] / "adapter", partial)
        partial.rename(named)
    return named


def write_questions(run: RunFolder, path: Path) -> int:
    """The validation questions of `run` with their contexts, as a file of pairs; returns how many there are."""
    datasets = run.datasets()
    chunks: dict[str, Chunk] = {chunk.id: chunk for chunk in datasets["chunks"].rows()}
    examples: Sequence[Example] = sorted(datasets["examples"].rows(), key=lambda example: example.id)
    rows = [
        {
            "question": example.question,
            "answer": example.answer,
            "contexts": [chunks[context.chunk_id].text for context in example.contexts],
            "paper": example.paper_id,
        }
        for example in examples
        if example.split == "val"
    ]
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return len(rows)


def found_questions(work: Path, variant: Variant) -> set[str]:
    """The questions whose own chunk is among the contexts that retrieval found for the variant."""
    return {
        example.question
        for example in _examples(work, variant)
        if any(context.role == "source" for context in example.contexts)
    }


def seen_questions(work: Path, variant: Variant, *, seed: int) -> set[str]:
    """The questions that the variant was trained on."""
    return {example.question for example in deal(_examples(work, variant), variant, seed=seed)["train"]}


def _examples(work: Path, variant: Variant) -> list[Example]:
    return list(RunFolder(work / variant.name).datasets()["examples"].rows())


def _told(name: str, event: Event) -> None:
    if isinstance(event, TrainingStep):
        print(
            f"{name}: step {event.step} of {event.steps}, loss {event.train:.3f}, {event.left_s / 60:.0f} min left",
            flush=True,
        )
