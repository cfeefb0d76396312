"""What the jobs of one run are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.datasets import Dataset
from engine.events import Hook
from engine.signals import Stop
from engine.workers import Workers
from jobs.config import Config, Model
from jobs.run.folder import RunFolder
from jobs.run.model_names import model_name

if TYPE_CHECKING:
    from jobs.evaluation.asked import Asked
    from jobs.parsing.deal import Catalogue
    from jobs.report.data import ReportData
    from jobs.retrieval.index import Retriever

__all__ = ["RunContext"]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What the jobs of one run are made with, as `jobs.session` has opened it.

    `asked` says which answers of models are asked for. `embedded` names the `weights` behind model = "local"; `tuned` gives the tuned model's name, None while there is
    none; `show` is handed what the report says.
    """

    config: Config
    folder: RunFolder
    datasets: Mapping[str, Dataset[Any]]
    papers: Sequence[Path]
    workers: Workers
    catalogue: Catalogue
    retriever: Retriever
    asked: Asked
    embedded: str
    weights: Path | None
    tuned: Callable[[], str | None]
    show: Callable[[ReportData], None]
    stop: Stop
    hook: Hook

    def name(self, model: Model) -> str:
        """What `model` is called in fingerprints and tables."""
        return model_name(model, self.embedded)
