"""The examples of the pairs that are used: decisions that people made after the last run count at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.datasets import Dataset
from jobs.config import Config
from jobs.curation.curate import kept_pairs
from jobs.records import Example
from jobs.registry import REVIEWS

__all__ = ["used_examples", "without_examples"]


def used_examples(datasets: Mapping[str, Dataset[Any]], config: Config) -> Iterator[Example]:
    """Every example, but those of pairs that were rejected, or edited, after it was made; blocks."""
    examples: Dataset[Example] = datasets["examples"]
    reviewed = datasets[REVIEWS].sealed() if REVIEWS in datasets else ()
    pairs = kept_pairs(datasets, config)
    for index in examples.sealed():
        rows = examples.read(index)
        if index in reviewed:
            versions = {pair.version for pair in pairs.read(index)}
            rows = [row for row in rows if row.parent in versions]
        yield from rows


def without_examples(datasets: Mapping[str, Dataset[Any]], config: Config) -> int:
    """How many pairs of shards with decisions are used, and have neither examples yet nor a failure; blocks."""
    examples: Dataset[Example] = datasets["examples"]
    pairs, count = kept_pairs(datasets, config), 0
    for index in datasets[REVIEWS].sealed() if REVIEWS in datasets else ():
        seal = examples.shard(index).seal()
        if seal is not None:
            made = {row.parent for row in examples.read(index)} | {failed.id for failed in seal.failures}
            count += sum(pair.version not in made for pair in pairs.read(index))
    return count
