"""The `assess` job: what the metrics of ``evaluate.metrics`` say of each response, one row for each of both.

A job of its own, so that a metric that is switched on later adds rows and makes none stale. What was assessed stays when
its metric is switched off: it may have been paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.datasets import Dataset
from engine.jobs import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.lexical import LEXICAL
from jobs.records import Assessment, Response

__all__ = ["assess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    id: str
    metric: str
    response: Response


def assess(
    *,
    metrics: Sequence[str],
    written: Dataset[Assessment],
    fingerprint: Mapping[str, Any],
    slots: int,
) -> Job:
    """Every response by each of `metrics`; `written` is the dataset that the job writes."""
    there: dict[str, str] = {}

    async def prepare() -> None:
        there.update(await asyncio.to_thread(lambda: {row.id: row.metric for row in written.rows()}))

    def expand(shard: ShardRows) -> Iterator[Item]:
        kept = sorted(set(there.values()) - set(metrics))
        for response in shard["responses"]:
            for metric in (*metrics, *kept):
                asked = _Asked(id=make_id("assessment", response.id, metric), metric=metric, response=response)
                if metric in metrics or asked.id in there:
                    yield Item(id=asked.id, value=asked)

    async def process(asked: _Asked, call: Call) -> Sequence[Record]:
        response = asked.response
        score = LEXICAL[asked.metric](response.response, response.reference)
        return [
            Assessment(
                id=asked.id,
                parent=response.id,
                pair_id=response.pair_id,
                model=response.model,
                metric=asked.metric,
                score=round(score, 6),
                passing=None,
                feedback="",
                split=response.split,
            )
        ]

    return Job(
        name="assess",
        reads=("responses",),
        writes="assessments",
        row=Assessment,
        expand=expand,
        process=process,
        origin=lambda row: row.id,
        prepare=prepare,
        variant=lambda: make_id(*metrics),
        fingerprint=fingerprint,
        slots=slots,
    )
