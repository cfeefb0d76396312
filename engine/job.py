"""Jobs and steps. A job processes each record of a dataset; a step runs once, between jobs. A pipeline is a list of
both.

Every job is an async function from one input to zero or more rows, with at most one paid request. So a crash loses only
requests in flight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from engine.errors import BadInput, Permanent
from engine.records import Record
from engine.requests import Call

__all__ = ["Flaw", "Item", "Job", "Pipeline", "Prepared", "ShardRows", "Step", "downstream", "find", "until"]


class ShardRows(dict[str, Sequence[Any]]):
    """The rows of shard `index` of each dataset that a job reads, by the name of the dataset."""

    def __init__(self, index: int, rows: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(rows)
        self.index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input of a job: `id` identifies it in the checkpoint, `value` is passed to `Job.process`."""

    id: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What may be wrong with a sealed row that an earlier release let pass.

    ``reason`` says it of one row, "" for a good one. Where its shard is opened again, the row's input counts as a failure
    of this ``kind``, so `retry` repeats it.
    """

    kind: str
    reason: Callable[[Any], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a job knows by `Job.prepare`, its own or another job's, for a process in which nothing was prepared.

    ``dump`` gives it in values that JSON has; ``load`` takes what JSON returns of them.
    """

    dump: Callable[[], Any]
    load: Callable[[Any], None]

    def __add__(self, other: Prepared) -> Prepared:
        def load(both: Sequence[Any]) -> None:
            self.load(both[0])
            other.load(both[1])

        return Prepared(dump=lambda: [self.dump(), other.dump()], load=load)


@dataclass(frozen=True, kw_only=True)
class Job:
    """How to process each record of a dataset.

    ``reads`` names the datasets whose shard *i* makes the inputs of shard *i* of ``writes``; ``expand`` turns their
    rows into items, in order. ``process`` turns an item's value into rows of type ``row``; it raises `Permanent` when
    this item cannot be processed. ``origin`` returns the id of the item that a row was made from.

    ``waits_for`` names jobs and steps that must have ended first; then ``prepare`` runs, once. ``variant`` is called
    after that: a sealed shard made under another variant is opened again, and only its new items are processed.
    ``review`` gets the rows of a finished shard, in shard order, before its seal; it returns failures by item id, and
    these items are dropped and counted as failed. With ``claims`` it gets, instead of the rows, what ``claims`` makes of
    them in a thread: values that JSON has. ``conclude`` runs when every shard is sealed.

    With ``head`` the shards of the job are never worked on in another process: it keeps more in memory than ``prepared``
    ships.

    With ``keeps`` the rows of a former item, which `expand` no longer gives, stay behind those of all others. Without it
    they are dropped when the shard is opened again.

    ``feeds`` returns the order in which the items of a shard are started, for example one that uses a provider's cache;
    the order of the rows is that of ``expand`` in any case.

    ``flaw`` finds sealed rows that cannot be used. They are looked for when failures of its kind are tried again.

    ``fingerprint`` holds the settings that change the meaning of rows. ``versions`` names the keys of it that change with
    our releases: rows that differ in these alone are kept as long as the job has nothing left to do. ``raisable`` names
    its keys whose number may grow (None is no bound): what is there stays, and the job asks for the difference. ``slots``
    bounds the items in flight.
    """

    name: str
    reads: tuple[str, ...]
    writes: str
    row: type[Record]
    expand: Callable[[ShardRows], Iterable[Item]]
    process: Callable[[Any, Call], Awaitable[Sequence[Record]]]
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()
    raisable: frozenset[str] = frozenset()
    origin: Callable[[Any], str] = attrgetter("parent")
    feeds: Callable[[Sequence[Item]], Iterable[Item]] = tuple
    waits_for: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    variant: Callable[[], str] = lambda: ""
    review: Callable[[Any], Awaitable[Mapping[str, Permanent]]] | None = None
    claims: Callable[[Sequence[Any]], Any] | None = None
    prepared: Prepared | None = None
    head: bool = False
    conclude: Callable[[], Awaitable[None]] | None = None
    flaw: Flaw | None = None
    keeps: bool = False
    slots: int = 64


@dataclass(frozen=True, kw_only=True)
class Step:
    """Work that is done once: dealing papers, writing training files, the report. It finds out itself what is left to
    do.

    ``writes`` names the dataset that it writes, if any.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    waits_for: tuple[str, ...] = ()
    writes: str | None = None


Pipeline = Sequence[Job | Step]


def find(pipeline: Pipeline, name: str) -> Job | Step:
    """The job or step called `name`; raises `BadInput` with the known names if there is none."""
    for step in pipeline:
        if step.name == name:
            return step
    raise BadInput(f"there is no job {name!r}; the jobs are {', '.join(step.name for step in pipeline)}")


def until(pipeline: Pipeline, name: str) -> Pipeline:
    """The pipeline up to the job called `name`, included; raises `BadInput` if there is none."""
    return pipeline[: pipeline.index(find(pipeline, name)) + 1]


def downstream(pipeline: Pipeline, name: str) -> Pipeline:
    """The job called `name` and all jobs that depend on it, directly or not; raises `BadInput` if there is none."""
    made = {find(pipeline, name).name}
    datasets = {step.name: step.writes for step in pipeline}
    for step in pipeline:
        reads = step.reads if isinstance(step, Job) else ()
        if made & set(step.waits_for) or any(datasets[job] in reads for job in made):
            made.add(step.name)
    return [step for step in pipeline if step.name in made]
