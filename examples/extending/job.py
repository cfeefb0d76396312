"""A job of one's own: the length of each answer in words, as rows of a dataset `lengths`.

To have it in every run, put this file into ``jobs/evaluation/lengths.py``, with `Length` among the rows in
``jobs/records.py``, and add one line to `jobs.registry.JOBS`, behind "answer":
``Declaration("lengths", "evaluation.lengths", "lengths", rows.Length)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.records import Pair
from jobs.run.context import RunContext

__all__ = ["Length", "build_lengths"]


class Length(Record, frozen=True, kw_only=True):
    """The words of one pair's answer."""

    words: int


def build_lengths(context: RunContext) -> Job:
    """One row for each pair. ``fingerprint`` would hold what of the configuration changes the meaning of the rows."""
    return Job(name="lengths", reads=("pairs",), writes="lengths", row=Length, expand=_expand, process=_process)


def _expand(shard: ShardRows) -> Iterator[Item]:
    for pair in shard["pairs"]:
        yield Item(id=pair.id, value=pair)


async def _process(pair: Pair, call: Call) -> Sequence[Record]:
    """A job that asks a model would await at most one `call` here, and raise `Permanent` for a pair that it cannot do."""
    return [Length(id=make_id("length", pair.id), parent=pair.id, words=len(pair.answer.split()))]
