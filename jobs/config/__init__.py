"""The configuration of a run: its sections as frozen values. Every key has a default and a description.

In: a table of keys, as TOML gives it. Out: a `Config`. May import nothing of `jobs`.

Each description stands beside its key; `jobs.config.reference` makes the reference page and the JSON schema of them.
"""

from __future__ import annotations

from jobs.config.cluster import Cluster
from jobs.config.curation import Curate
from jobs.config.evaluation import Evaluate
from jobs.config.generation import Answer, Ask
from jobs.config.models import Model, Models, Price, api_key
from jobs.config.parsing import Parse, Split
from jobs.config.prompts import Prompts
from jobs.config.retrieval import Augment, Index
from jobs.config.run import ENOUGH_PAPERS, Budget, Config
from jobs.config.tuning import Export, Finetune

__all__ = [
    "ENOUGH_PAPERS",
    "Answer",
    "Ask",
    "Augment",
    "Budget",
    "Cluster",
    "Config",
    "Curate",
    "Evaluate",
    "Export",
    "Finetune",
    "Index",
    "Model",
    "Models",
    "Parse",
    "Price",
    "Prompts",
    "Split",
    "api_key",
]
