"""The stages around the vector store, as a run is configured: it is filled, and examples are made by searching it."""

from __future__ import annotations

from typing import Any

from engine.job import Pipeline
from jobs.config import Model
from jobs.models.prompts import RELEASE
from jobs.models.roles import slots
from jobs.retrieval.augment import Augmenter
from jobs.retrieval.index import Retriever, index
from jobs.run.context import RunContext
from jobs.run.model_names import EMBEDDED_EMBEDDING, model_name

__all__ = ["augmenting", "embedding_fingerprint", "embedding_slots", "indexing"]


def embedding_fingerprint(model: Model) -> dict[str, Any]:
    """What of the embedding `model` decides the meaning of vectors."""
    return {"embedding": model_name(model, EMBEDDED_EMBEDDING)}


def embedding_slots(model: Model) -> int:
    """How many records that embed may be in flight: one batch fills while another is answered."""
    return max(slots(model), 2 * model.batch_size)


def indexing(context: RunContext, retriever: Retriever) -> Pipeline:
    """An embedding for each chunk, and the vector store."""
    model = context.config.models.embedding
    return [
        index(
            chunks=context.datasets["chunks"],
            written=context.datasets["index"],
            fingerprint=embedding_fingerprint(model),
            slots=embedding_slots(model),
            retriever=retriever,
        )
    ]


def augmenting(context: RunContext, retriever: Retriever) -> Pipeline:
    """The examples of each pair that is kept."""
    config, model = context.config, context.config.models.embedding
    draws = {"seed": config.seed} if config.augment.distractors else {}
    return [
        Augmenter(
            retriever=retriever,
            settings=config.augment,
            curated=config.curate.on,
            probed=config.curate.embeds,
            seed=config.seed,
        ).job(
            fingerprint={
                **RELEASE,
                **embedding_fingerprint(model),
                **config.augment.model_dump(),
                **draws,
                "curated": config.curate.on,
            },
            slots=embedding_slots(model),
        )
    ]
