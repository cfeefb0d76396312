"""The stage from papers to chunks, as a run is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.job import Pipeline
from engine.processes import usable_cores
from jobs.config import Config
from jobs.parsing.deal import deal
from jobs.parsing.parse import Settings, parse
from jobs.run.context import RunContext

__all__ = ["parsing", "worker_count"]


def parsing(context: RunContext) -> Pipeline:
    """The papers in shards, and the chunks of each."""
    config, catalogue = context.config, context.catalogue

    async def claim(claims: Sequence[tuple[str, str]]) -> Sequence[str]:
        return await asyncio.to_thread(catalogue.claim, claims)

    return [
        deal(
            context.papers,
            context.datasets["papers"],
            catalogue,
            per_shard=config.parse.papers_per_shard,
            stop=context.stop,
            parser=config.parse.parser,
        ),
        parse(
            workers=context.workers,
            settings=Settings(
                chunk_size=config.parse.chunk_size,
                chunk_overlap=config.parse.chunk_overlap,
                split_by=config.split.by,
                train=config.split.train,
                seed=config.seed,
                parser=config.parse.parser,
            ),
            claim_text=claim,
        ),
    ]


def worker_count(config: Config) -> int:
    """Processes that parse: as configured, else one for each core that this process may use."""
    return config.parse.workers or usable_cores()
