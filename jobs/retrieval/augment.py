"""The `augment` job: for each pair, the retrieved chunks and the question, joined by LlamaIndex's QA prompt.

It is the notebook's `augment_data_with_retrieval`: the contexts are joined into one example, or make one example each.
With distractors, training pairs get RAFT's contexts instead (`jobs.retrieval.distractors`). If `probe` has embedded the
question, no request is made; if pairs are curated or reviewed, only those that are used then get examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import Permanent
from engine.job import Item, Job, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.config import Augment
from jobs.models.embeddings import embedding, unpack, unusable, vectors
from jobs.models.prompts import qa_prompt
from jobs.records import Chunk, Context, Example, Pair
from jobs.registry import REVIEWS
from jobs.retrieval.distractors import Distractors, FoundChunk, setting
from jobs.retrieval.index import Retriever
from jobs.review.decisions import used

__all__ = ["Augmenter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A pair, the chunks of its paper, and its question's vector ("" where it is not embedded yet)."""

    pair: Pair
    paper: Sequence[Chunk]
    vector: str


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """Makes the examples of each pair, from the ``top_k`` chunks nearest to its question or from its distractors.

    ``curated``, ``probed`` and ``reviewed`` say whether the run has these datasets; ``seed`` is the seed of the draws.
    """

    retriever: Retriever
    settings: Augment
    curated: bool = False
    probed: bool = False
    reviewed: bool = False
    seed: int = 0

    def job(self, *, fingerprint: Mapping[str, Any], slots: int) -> Job:
        has = {"curated": self.curated, "probes": self.probed, REVIEWS: self.reviewed}
        beside = [name for name, there in has.items() if there]
        return Job(
            name="augment",
            reads=("pairs", "chunks", *beside),
            writes="examples",
            row=Example,
            expand=self.expand,
            process=self.process,
            waits_for=("index",),
            fingerprint=fingerprint,
            slots=slots,
        )

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        papers: dict[str, list[Chunk]] = {}
        beside = {chunk.id: papers.setdefault(chunk.paper_id, []) for chunk in shard["chunks"]}
        for chunk in shard["chunks"]:
            beside[chunk.id].append(chunk)
        probes = shard["probes"] if self.probed else []
        embedded = {row.parent: row.vector for row in probes if not unusable(row.vector)}
        kept = {row.pair_id for row in shard["curated"] if row.kept} if self.curated else None
        asked = {pair.id: pair.question for pair in shard["pairs"]}
        for pair in used(shard["pairs"], kept, shard.get(REVIEWS, ())):
            vector = embedded.get(pair.id, "") if pair.question == asked[pair.id] else ""
            yield Item(id=pair.version, value=_Work(pair=pair, paper=beside[pair.chunk_id], vector=vector))

    async def process(self, work: _Work, call: Call) -> Sequence[Record]:
        pair, settings = work.pair, self.settings
        vector = (
            unpack(work.vector).tolist()
            if work.vector
            else vectors(await call(embedding([pair.question], query=True)))[0]
        )
        drawn = setting(pair, settings, self.seed)
        if drawn.distracted:
            distractors = Distractors(retriever=self.retriever, settings=settings, seed=self.seed)
            found = await distractors.around(pair, vector, work.paper, with_source=drawn.with_source)
        else:
            found = await _retrieved(pair, vector, self.retriever, settings)
        groups = [[one] for one in found] if settings.separate_context else [found]
        abstains = not drawn.with_source and settings.without_source_answer == "abstain"
        answer = settings.abstention if abstains else pair.answer
        return [_example(work, group, answer, abstains=abstains) for group in groups]


def _example(work: _Work, group: Sequence[FoundChunk], answer: str, *, abstains: bool) -> Example:
    pair = work.pair
    return Example(
        id=make_id("example", pair.version, *(one.context.chunk_id for one in group)),
        parent=pair.version,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=work.paper[0].title,
        question=pair.question,
        prompt=qa_prompt(pair.question, [one.text for one in group]),
        answer=answer,
        contexts=[one.context for one in group],
        split=pair.split,
        abstains=abstains,
    )


async def _retrieved(pair: Pair, vector: Sequence[float], retriever: Retriever, settings: Augment) -> list[FoundChunk]:
    found = await retriever.search(
        vector,
        top_k=settings.top_k,
        paper_id=pair.paper_id if settings.scope == "paper" else None,
        without_split="val" if settings.leave_out_validation and pair.split == "train" else None,
    )
    if not found:
        raise Permanent("no chunk could be retrieved for this question", kind="no_context")
    return [
        FoundChunk(context=Context(chunk_id=id_, rank=rank, score=score, role=_role(id_, pair)), text=text)
        for rank, (id_, score, text) in enumerate(found)
    ]


def _role(chunk_id: str, pair: Pair) -> str:
    return "source" if chunk_id == pair.chunk_id else "retrieved"
