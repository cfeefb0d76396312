"""What the head and a worker say to each other: frozen values that are encoded as MessagePack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.demands import Demand, Grant
from engine.shards import Failure

__all__ = ["Decision", "Fed", "Orders", "Report", "ReportedEvent", "Task", "Worked"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Work on shard `index` of `job`, which was handed out with `fence`.

    ``source`` is that of its seal. ``stamps`` are those of the datasets that it reads, as the head sees them; ``beside`` are
    the rows, as lines, of datasets that only the head can read. ``again`` are the failures in its journal that are tried
    again. ``prepared`` is what the job knows before it starts (`engine.job.Prepared`), as JSON; it is None where this worker
    has it already.
    """

    job: str
    index: int
    fence: str
    source: str
    stamps: Mapping[str, str | None] = {}
    beside: Mapping[str, bytes] = {}
    again: Sequence[str] = ()
    prepared: bytes | None = None


class ReportedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a worker, by the name of its class and its fields. ``shard`` is -1 where it is of no shard."""

    name: str
    event: dict[str, Any]
    shard: int = -1


class Worked(msgspec.Struct, frozen=True, kw_only=True):
    """Every input of a shard is committed. ``claims`` is what the job's review is shown: JSON, or rows where the job makes
    no claims of them; None where it reviews nothing.

    ``events`` are those of the shard that are in no report yet.
    """

    claims: bytes | None = None
    events: Sequence[ReportedEvent] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Write down the seal of a shard whose inputs are all committed. ``dropped`` are failures by the id of their input."""

    job: str
    index: int
    dropped: Mapping[str, Failure] = {}


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """The last input of a shard is on its way, so the worker has room for another shard of this job."""

    job: str
    index: int


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the head says each second. After ``stop`` the worker starts no record any more. ``grant`` answers its last demand.

    The worker reports at once when something urgent has happened, and after ``wait_s`` seconds at the latest.
    """

    stop: bool = False
    wait_s: float = 1.0
    grant: Grant | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened at a worker since its last report. ``in_flight`` are requests under way now, by job.

    ``demand`` is what it needs of what is shared; None in a report that a later call has ended.
    """

    events: Sequence[ReportedEvent] = ()
    fed: Sequence[Fed] = ()
    in_flight: Mapping[str, int] = {}
    demand: Demand | None = None
