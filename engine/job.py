"""A job says what to do with one record; a step is what is done once, between jobs. A pipeline is a list of both.

Every job is an async function from one input to zero or more rows, with at most one paid request. That is why a crash
can lose only what was in flight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from engine.errors import BadInput, Permanent
from engine.records import Record
from engine.requests import Call

__all__ = ["Item", "Job", "Pipeline", "ShardRows", "Step", "downstream", "find", "until"]


class ShardRows(dict[str, Sequence[Any]]):
    """The rows of shard `index`, by the name of their dataset."""

    def __init__(self, index: int, rows: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(rows)
        self.index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input of a job: `id` is what the checkpoint knows it by, `value` is what `Job.process` gets."""

    id: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with each record of a dataset.

    ``reads`` names the datasets whose shard *i* makes the inputs of shard *i* of ``writes``; ``expand`` turns their
    rows into items, in order. ``process`` turns an item's value into rows of type ``row``; it raises `Permanent` when
    this one cannot be done. ``origin`` gives the id of the item that a row was made from.

    ``waits_for`` names jobs and steps that must have ended first; then ``prepare`` runs, once. ``variant`` is asked
    after that: a sealed shard made under another variant is opened again, and only its new items are processed.
    ``review`` sees the rows of a finished shard, in shard order, before its seal; what it returns, by item id, is
    dropped and counted as failed. ``conclude`` runs when every shard is sealed.

    ``feeds`` gives the order in which the items of a shard are started, such as one that a provider's cache likes; their
    rows stand in the order of ``expand`` all the same.

    ``fingerprint`` holds what, if changed, would mix two meanings in one dataset. ``slots`` bounds what is in flight.
    """

    name: str
    reads: tuple[str, ...]
    writes: str
    row: type[Record]
    expand: Callable[[ShardRows], Iterable[Item]]
    process: Callable[[Any, Call], Awaitable[Sequence[Record]]]
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    origin: Callable[[Any], str] = attrgetter("parent")
    feeds: Callable[[Sequence[Item]], Iterable[Item]] = tuple
    waits_for: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    variant: Callable[[], str] = lambda: ""
    review: Callable[[Sequence[Any]], Awaitable[Mapping[str, Permanent]]] | None = None
    conclude: Callable[[], Awaitable[None]] | None = None
    slots: int = 64


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done once: dealing papers, writing the training files, the report. It decides itself what is left to do.

    ``writes`` names the dataset that it fills, if it fills one.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    waits_for: tuple[str, ...] = ()
    writes: str | None = None


Pipeline = Sequence[Job | Step]


def find(pipeline: Pipeline, name: str) -> Job | Step:
    """The job or step of that name; raises `BadInput` naming those that there are."""
    for step in pipeline:
        if step.name == name:
            return step
    raise BadInput(f"there is no job {name!r}; the jobs are {', '.join(step.name for step in pipeline)}")


def until(pipeline: Pipeline, name: str) -> Pipeline:
    """The pipeline up to and with the job of that name."""
    return pipeline[: pipeline.index(find(pipeline, name)) + 1]


def downstream(pipeline: Pipeline, name: str) -> Pipeline:
    """The job of that name and everything that is made from what it makes, directly or not."""
    made = {find(pipeline, name).name}
    datasets = {step.name: step.writes for step in pipeline}
    for step in pipeline:
        reads = step.reads if isinstance(step, Job) else ()
        if made & set(step.waits_for) or any(datasets[job] in reads for job in made):
            made.add(step.name)
    return [step for step in pipeline if step.name in made]
