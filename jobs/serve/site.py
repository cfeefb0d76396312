"""What the pages of one served run are made of; a handler finds it in ``request.app[SITE]``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engine.datasets import Dataset
from engine.workers import Workers
from jobs.run.folder import RunFolder
from jobs.serve.access import Access

__all__ = ["SITE", "Site"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A run and who may read it. `datasets` are the run's, by name; reading them takes no lock.

    `workers` draw the pages of papers. `guessing` is held while a wrong password waits for its answer.
    """

    folder: RunFolder
    datasets: Mapping[str, Dataset[Any]]
    access: Access
    workers: Workers
    guessing: asyncio.Lock = field(default_factory=asyncio.Lock)


SITE: web.AppKey[Site] = web.AppKey("site", Site)
