"""What a job has left to do in the shards whose inputs are sealed, found without opening any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.datasets import Dataset
from engine.job import Item, Job, ShardRows
from engine.records import make_id

__all__ = ["finished", "pending", "source_of"]


def pending(job: Job, datasets: Mapping[str, Dataset[Any]]) -> Iterator[Item]:
    """The items of `job` that are not finished; failed ones are. Its `prepare` must have run; blocks."""
    inputs, output = [datasets[name] for name in job.reads], datasets[job.writes]
    for index in inputs[0].sealed():
        seal = output.shard(index).seal()
        if seal is None or seal.source != source_of(job, inputs, index):
            known = finished(output, index, job.origin)
            rows = ShardRows(index, {dataset.name: dataset.read(index) for dataset in inputs})
            yield from (item for item in job.expand(rows) if item.id not in known)


def source_of(job: Job, inputs: Sequence[Dataset[Any]], index: int) -> str:
    """The source of a shard: the checksums of the shards that it is made from, and the job's variant; blocks."""
    stamps = [dataset.stamp(index) for dataset in inputs]
    return make_id(*(stamp for stamp in stamps if stamp is not None), job.variant())


def finished(dataset: Dataset[Any], index: int, origin: Callable[[Any], str]) -> Counter[str]:
    """The inputs of a shard that are finished, whatever came of them, each with the number of its rows; blocks."""
    shard = dataset.shard(index)
    seal = shard.seal()
    if seal is None:
        return Counter({entry.id: entry.rows for entry in shard.peek() if entry.id})
    found = Counter(map(origin, dataset.read(index)))
    found.update(dict.fromkeys((*seal.empty, *(failed.id for failed in seal.failures)), 0))
    return found
