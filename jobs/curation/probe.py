"""The `probe` job: the embedding of each question, and whether retrieval with it finds the question's chunk.

One embedding has three uses: the round trip here, near-duplicates in `curate`, and retrieval in `augment`. Pairs that
break a rule are not embedded. Without the round trip this job does not wait for the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from engine.job import Flaw, Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.config import Curate
from jobs.curation.rules import Fault, passing
from jobs.models.embeddings import BAD_VECTOR, embedding, pack, unusable, vectors
from jobs.records import Pair, Probe
from jobs.retrieval.index import Retriever

__all__ = ["lost", "probe"]


def probe(
    *,
    retriever: Retriever,
    settings: Curate,
    scope: Literal["corpus", "paper"],
    fingerprint: Mapping[str, Any],
    slots: int,
) -> Job:
    """The job that embeds the question of every pair that breaks no rule, and searches its chunk if the round trip is
    on.
    """

    async def process(pair: Pair, call: Call) -> Sequence[Record]:
        vector = vectors(await call(embedding([pair.question], query=True)))[0]
        rank = await _rank(pair, vector) if settings.round_trip is True else None
        return [Probe(id=make_id("probe", pair.id), parent=pair.id, vector=pack(vector), rank=rank)]

    async def _rank(pair: Pair, vector: Sequence[float]) -> int | None:
        paper = pair.paper_id if scope == "paper" else None
        found = await retriever.search(vector, top_k=settings.round_trip_top_k, paper_id=paper, without_split=None)
        return next((rank for rank, (id_, _, _) in enumerate(found) if id_ == pair.chunk_id), None)

    def expand(shard: ShardRows) -> Iterator[Item]:
        return (Item(id=pair.id, value=pair) for pair in passing(shard["pairs"], settings))

    return Job(
        name="probe",
        reads=("pairs",),
        writes="probes",
        row=Probe,
        expand=expand,
        process=process,
        waits_for=("index",) if settings.round_trip is True else (),
        flaw=Flaw(kind=BAD_VECTOR, reason=lambda row: unusable(row.vector)),
        fingerprint=fingerprint,
        slots=slots,
    )


def lost(found: Probe, settings: Curate) -> Fault | None:
    """The fault of a question that does not find its chunk: it is vague, or about something else."""
    if settings.round_trip is not True or found.rank is not None:
        return None
    return Fault(reason="not_found", detail=f"its chunk is not among the {settings.round_trip_top_k} nearest")
