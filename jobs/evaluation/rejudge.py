"""The `rejudge` job: the judge scores a sample of answers a second time, with the same prompt.

The difference between the two scores is the judge's own noise. Even at temperature 0 a model may differ from itself,
because providers do not promise the same answer twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.evaluation.asked import Shows
from jobs.evaluation.judge import Method
from jobs.evaluation.sample import Sample
from jobs.evaluation.score_parser import scored
from jobs.records import Rejudgement, Response, Verdict

__all__ = ["rejudge"]


def rejudge(*, method: Method, chosen: Sample, shows: Shows, fingerprint: Mapping[str, Any], slots: int) -> Job:
    """Judge every model's answers to the `chosen` pairs again: the first of those that `respond` takes."""

    def expand(shard: ShardRows) -> Iterator[Item]:
        responses = {response.id: response for response in shard["responses"]}
        for verdict in shard["verdicts"]:
            if verdict.pair_id in chosen and shows(responses[verdict.parent]):
                yield Item(id=verdict.id, value=(verdict, responses[verdict.parent]))

    async def process(value: tuple[Verdict, Response], call: Call) -> Sequence[Record]:
        verdict, response = value
        second, _ = await scored(method(response, call))
        return [
            Rejudgement(
                id=make_id("rejudgement", verdict.id),
                parent=verdict.id,
                pair_id=verdict.pair_id,
                paper_id=verdict.paper_id,
                model=verdict.model,
                split=verdict.split,
                retrieval=verdict.retrieval,
                first=verdict.correctness,
                second=second.correctness if second else None,
            )
        ]

    return Job(
        name="rejudge",
        reads=("responses", "verdicts"),
        writes="rejudgements",
        row=Rejudgement,
        expand=expand,
        process=process,
        waits_for=("respond",),  # the sample is drawn from all pairs
        prepare=chosen.draw,
        prepared=chosen.prepared,
        variant=chosen.stamp,
        fingerprint=fingerprint,
        keeps=True,
        slots=slots,
    )
