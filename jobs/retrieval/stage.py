"""The stages around the vector store, as a run is configured: each function builds one job of `jobs.registry`."""

from __future__ import annotations

from typing import Any

from engine.job import Job
from jobs.config import Model
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.registry import REVIEWS
from jobs.retrieval.augment import Augmenter
from jobs.retrieval.index import index
from jobs.run.context import RunContext
from jobs.run.model_names import EMBEDDED_EMBEDDING, model_name

__all__ = ["build_augment", "build_index", "embedding_fingerprint", "embedding_slots"]


def embedding_fingerprint(model: Model) -> dict[str, Any]:
    """The settings of the embedding `model` that belong into fingerprints."""
    return {"embedding": model_name(model, EMBEDDED_EMBEDDING), **model.meaning()}


def embedding_slots(model: Model) -> int:
    """How many records that need embeddings may be in flight: one batch fills while another is answered."""
    return max(slots(model), 2 * model.batch_size)


def build_index(context: RunContext) -> Job:
    """The job that embeds each chunk and builds the vector store."""
    model = context.config.models.embedding
    return index(
        chunks=context.datasets["chunks"],
        written=context.datasets["index"],
        fingerprint=embedding_fingerprint(model),
        slots=embedding_slots(model),
        retriever=context.retriever,
        hook=context.hook,
    )


def build_augment(context: RunContext) -> Job:
    """The job that makes the examples of each kept pair."""
    config, model = context.config, context.config.models.embedding
    draws = {"seed": config.seed} if config.augment.distractors else {}
    augmenter = Augmenter(
        retriever=context.retriever,
        settings=config.augment,
        curated=config.curate.on,
        probed=config.curate.embeds,
        reviewed=REVIEWS in context.datasets,
        seed=config.seed,
    )
    return augmenter.job(
        fingerprint={
            **RELEASE,
            **embedding_fingerprint(model),
            **config.augment.model_dump(),
            **draws,
            "curated": config.curate.on,
        },
        slots=embedding_slots(model),
    )
