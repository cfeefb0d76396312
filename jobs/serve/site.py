"""What the pages of one served run are made of; a handler finds it in ``request.app[SITE]``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import web

from engine.datasets import Dataset
from engine.workers import Workers
from jobs.review.log import ReviewLog
from jobs.run.folder import RunFolder
from jobs.serve.access import Access
from jobs.serve.chunk_places import ChunkPlaces
from jobs.serve.committed import Committed
from jobs.serve.live import Live
from jobs.serve.pair_lines import PairLines
from jobs.serve.paper_lines import PaperLines

__all__ = ["SITE", "Site"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A run and who may read it. `datasets` are the run's, by name; reading them takes no lock.

    `workers` draw the pages of papers. `guessing` is held while a wrong password waits for its answer. `live` is
    what the process itself knows, where it is the one that works on the run.
    """

    folder: RunFolder
    datasets: Mapping[str, Dataset[Any]]
    access: Access
    workers: Workers
    live: Live | None = None
    guessing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @cached_property
    def committed(self) -> Mapping[str, Committed]:
        """What is committed of each dataset, by its name."""
        return {name: Committed(dataset) for name, dataset in self.datasets.items()}

    @cached_property
    def papers(self) -> PaperLines:
        return PaperLines(self.committed)

    @cached_property
    def pairs(self) -> PairLines:
        return PairLines(self.committed, ReviewLog(self.folder.reviews))

    @cached_property
    def chunks(self) -> ChunkPlaces:
        return ChunkPlaces(self.committed["chunks"])


SITE: web.AppKey[Site] = web.AppKey("site", Site)
