"""The pipeline of a configuration, built but not run: to look at its jobs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from engine.job import Pipeline
from engine.signals import Stop
from jobs.config import Config
from jobs.evaluation.asked import Asked
from jobs.pipeline import build
from jobs.retrieval.index import Retriever
from jobs.run.context import RunContext
from jobs.run.folder import RunFolder


def built(config: Config, folder: Path) -> Pipeline:
    """Every job and step of a run in `folder`, which need not exist. It has no papers and asks nothing."""
    run = RunFolder(folder)
    return build(
        RunContext(
            config=config,
            folder=run,
            datasets=run.datasets(),
            papers=[],
            workers=cast(Any, SimpleNamespace(processes=1)),
            catalogue=cast(Any, None),
            retriever=Retriever(run.store),
            asked=Asked(run.datasets()["pairs"], run.datasets()["examples"], config.evaluate, 0),
            embedded="local",
            weights=None,
            tuned=lambda: None,
            show=lambda data: None,
            stop=Stop(),
            hook=lambda event: None,
        )
    )
