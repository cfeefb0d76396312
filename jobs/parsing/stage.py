"""The stage from papers to chunks, as a run is configured: each function builds one job of `jobs.registry`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.job import Job, Step
from engine.processes import usable_cores
from jobs.config import Config
from jobs.parsing.deal import deal
from jobs.parsing.parse import Settings, parse
from jobs.parsing.parsers import Options
from jobs.run.context import RunContext

__all__ = ["build_deal", "build_parse", "worker_count"]


def build_deal(context: RunContext) -> Step:
    """The papers, in shards."""
    return deal(
        context.papers,
        context.datasets["papers"],
        context.catalogue,
        per_shard=context.config.parse.papers_per_shard,
        stop=context.stop,
        parser=context.config.parse.parser,
    )


def build_parse(context: RunContext) -> Job:
    """The chunks of each paper."""
    config, catalogue = context.config, context.catalogue

    async def claim(claims: Sequence[tuple[str, str]]) -> Sequence[str]:
        return await asyncio.to_thread(catalogue.claim, claims)

    settings = Settings(
        chunk_size=config.parse.chunk_size,
        chunk_overlap=config.parse.chunk_overlap,
        split_by=config.split.by,
        train=config.split.train,
        seed=config.seed,
        parser=config.parse.parser,
        options=Options(
            references=config.parse.references,
            furniture=config.parse.furniture,
            axes=config.parse.axes,
            citations=config.parse.citations,
            table_headers=config.parse.table_headers,
            ocr=config.parse.ocr,
        ),
    )
    return parse(workers=context.workers, settings=settings, claim_text=claim)


def worker_count(config: Config) -> int:
    """Processes that parse: as configured, else one for each core that this process may use."""
    return config.parse.workers or usable_cores()
