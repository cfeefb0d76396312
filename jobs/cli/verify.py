"""`gristmill verify`: whether every shard exists and is as it was sealed. It reads everything and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.datasets import Dataset
from engine.errors import GristmillError
from jobs.run.folder import beginning

__all__ = ["damage"]


def damage(datasets: Mapping[str, Dataset[Any]]) -> Iterator[str]:
    """One line for each shard that is missing or damaged; blocks.

    Shards are opened in order and never deleted, so a missing number is a lost shard. The papers (or the pairs, in a
    run that begins with pairs) must have every number that any dataset has.
    """
    behind = {name: max(dataset.numbers(), default=-1) + 1 for name, dataset in datasets.items()}
    behind[beginning(datasets)] = max(behind.values())
    for name, dataset in datasets.items():
        for index in range(behind[name]):
            try:
                dataset.shard(index).verify()
            except GristmillError as error:
                yield str(error)
