"""The stage from examples to a tuned model, as a run is configured: each function builds one step of `jobs.registry`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.events import Note
from engine.files import naming_the_disk, write_atomic
from engine.job import Step
from engine.records import make_id
from jobs.config import Config, api_key
from jobs.curation.curate import kept_pairs
from jobs.models.roles import local_file
from jobs.registry import REVIEWS
from jobs.review.reviewed import Reviewed
from jobs.run.background_imports import imported
from jobs.run.context import RunContext
from jobs.run.folder import RunFolder
from jobs.run.model_names import EMBEDDED_EMBEDDING, model_name
from jobs.tuning.card import Making, write_card
from jobs.tuning.shortage import shortage
from jobs.tuning.tuning_jobs import MIN_EXAMPLES

__all__ = ["build_export", "build_finetune", "check_tunable", "is_current"]


def build_export(context: RunContext) -> Step:
    """The training files, written again when an example, a pair or the system prompt has changed."""

    async def run() -> None:
        if await asyncio.to_thread(_write_dataset, context):
            context.hook(Note(job="export", text=f"training data is in {context.folder.dataset}"))

    return Step(name="export", run=run, waits_for=("augment", "curate", "answer"))


def _write_dataset(context: RunContext) -> bool:
    """Write ``dataset/`` if it is not up to date with rows and settings; returns whether it was written. Blocks."""
    from jobs.tuning.export import write_dataset

    config, folder, datasets = context.config, context.folder, context.datasets
    if is_current(folder, config, datasets):
        return False
    path = folder.dataset / _STAMP
    with naming_the_disk(folder.dataset):
        folder.dataset.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
    rows = write_dataset(
        folder.dataset,
        datasets["examples"].rows(),
        kept_pairs(datasets, config).rows(),
        system_prompt=config.export.system_prompt,
        seed=config.seed,
    )
    write_card(folder.dataset, rows, _making(context, rows))
    with naming_the_disk(folder.dataset):
        write_atomic(path, _stamp(config, datasets))
    return True


def is_current(folder: RunFolder, config: Config, datasets: Mapping[str, Dataset[Any]]) -> bool:
    """Whether ``dataset/`` is what the rows, decisions and settings of now make; blocks."""
    path = folder.dataset / _STAMP
    return path.exists() and path.read_bytes() == _stamp(config, datasets)


def _stamp(config: Config, datasets: Mapping[str, Dataset[Any]]) -> bytes:
    made_from = [seal.sha256 for name in ("examples", "pairs", "curated") for seal in datasets[name].seals()]
    if isinstance(reviews := datasets.get(REVIEWS), Reviewed):
        made_from += reviews.stamps()
    return make_id(_LAYOUT, config.export.system_prompt, config.seed, *made_from).encode()


_STAMP = ".stamp"
_LAYOUT = "card"
"""The version of the set of files in ``dataset/``: a changed value makes older runs write them again."""


def _making(context: RunContext, rows: Mapping[str, int]) -> Making:
    config, made = context.config, {name: _count(context.datasets[name]) for name in ("papers", "chunks", "pairs")}
    settings = config.augment
    contexts = f"{settings.top_k} retrieved from {'its own paper' if settings.scope == 'paper' else 'all papers'}"
    if settings.distractors:
        contexts = f"the source and {settings.distractors} distractors; {contexts} in validation"
    return Making(
        **made,
        kept=sum(count for name, count in rows.items() if name.startswith("qa_pairs")),
        generator=context.name(config.models.generator),
        embedding=model_name(config.models.embedding, EMBEDDED_EMBEDDING),
        recipe=config.ask.recipe,
        split_by=config.split.by,
        contexts=contexts,
    )


def _count(dataset: Dataset[Any]) -> int:
    return sum(seal.rows for seal in dataset.seals())


def build_finetune(context: RunContext) -> Step:
    """One fine-tuning job, started or resumed; does nothing if no backend is configured."""
    backends = {"none": _no_tuning, "openai": _tune_at_provider, "lora": _tune_here}
    backend = context.config.finetune.backend

    async def run() -> None:
        if backend != "none":
            await asyncio.to_thread(_check_examples, context, MIN_EXAMPLES if backend == "openai" else 1)
        await backends[backend](context)

    return Step(name="finetune", run=run, waits_for=("export",))


def _check_examples(context: RunContext, least: int) -> None:
    """Raise `BadInput` if there are too few examples, with the reason why they are missing. Blocks."""
    found = _count(context.datasets["examples"])
    if found < least:
        few = f"{found} examples, but fine-tuning takes {least} or more" if found else "there is nothing to tune on"
        raise BadInput(f"{few}: {shortage(context.datasets)}")


def check_tunable(config: Config) -> None:
    """Raise `BadInput` if the configured backend cannot tune the configured base."""
    base, backend = config.models.base, config.finetune.backend
    if backend == "openai" and base.local:
        raise BadInput('finetune.backend = "openai" tunes a model at an endpoint: configure [models.base]')
    if backend == "lora":
        if not base.local:
            raise BadInput(
                'finetune.backend = "lora" tunes a local model: set [models.base] model = "local" or "local:FILE.gguf"'
            )
        from jobs.tuning.lora.tune import LORA_NOT_INSTALLED, is_installed

        if not is_installed():
            raise BadInput(LORA_NOT_INSTALLED)


async def _no_tuning(context: RunContext) -> None:
    pass


async def _tune_at_provider(context: RunContext) -> None:
    from jobs.tuning.openai_job import finetune
    from jobs.tuning.tuning_jobs import Hyperparameters

    settings, base = context.config.finetune, context.config.model("base")
    await imported("openai")
    await finetune(
        folder=context.folder.path,
        base=base,
        api_key=api_key(base, "base"),
        hyperparameters=Hyperparameters(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate_multiplier=settings.learning_rate_multiplier,
            seed=context.config.seed,
        ),
        poll_s=settings.poll_s,
        on_event=context.hook,
        sleep=context.stop.sleep,
    )


async def _tune_here(context: RunContext) -> None:
    from jobs.tuning.lora.protocol import LoraSettings
    from jobs.tuning.lora.tune import tune

    settings, base = context.config.finetune, context.config.models.base
    await tune(
        folder=context.folder.path,
        base=await asyncio.to_thread(local_file, base, context.weights),
        base_name=context.name(base),
        settings=LoraSettings(
            epochs=settings.epochs or 3,
            batch_size=settings.batch_size or 4,
            learning_rate=settings.learning_rate,
            rank=settings.rank,
            alpha=settings.alpha,
            dropout=settings.dropout,
            max_length=settings.max_length,
            precision=settings.precision,
            seed=context.config.seed,
        ),
        checkpoint_every=settings.checkpoint_every,
        validate_every=settings.validate_every,
        stop=context.stop,
        hook=context.hook,
    )
