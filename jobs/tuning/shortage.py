"""Why a run has no or few examples: the first job in which all inputs were lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.datasets import Dataset

__all__ = ["shortage"]

_LOST = (
    ("papers", "chunks", "papers could not be read"),
    ("chunks", "questions", "chunks gave no question"),
    ("questions", "pairs", "questions got no answer"),
    ("pairs", "examples", "pairs became no example"),
)
_ADVICE = "add papers, or raise ask.max_questions or ask.questions_per_chunk"


def shortage(datasets: Mapping[str, Dataset[Any]]) -> str:
    """One line for the user: where all inputs were lost, how many, and what to do. Blocks."""
    for source, target, lost in _LOST:
        inputs = _rows(datasets[source])
        failures = Counter(failure.kind for seal in datasets[target].seals() for failure in seal.failures)
        failed = failures.total()
        if inputs and failed and (failed == inputs or not _rows(datasets[target])):
            kinds = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
            return f"{failed} of {inputs} {lost} ({kinds}); gristmill status says why for each"
    refused = Counter(row.reason for row in datasets["curated"].rows() if not row.kept)
    if refused and refused.total() == _rows(datasets["pairs"]):
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        return f"curation refused all {refused.total()} pairs ({reasons}); see [curate] in the configuration"
    return _some_papers(datasets) + _ADVICE


def _some_papers(datasets: Mapping[str, Dataset[Any]]) -> str:
    """The number of papers that could not be read, for the start of the line; "" if there are none."""
    failures = (failure for seal in datasets["chunks"].seals() for failure in seal.failures)
    failed = sum(failure.kind != "duplicate" for failure in failures)
    return f"{failed} of {_rows(datasets['papers'])} papers could not be read; " if failed else ""


def _rows(dataset: Dataset[Any]) -> int:
    return sum(seal.rows for seal in dataset.seals())
