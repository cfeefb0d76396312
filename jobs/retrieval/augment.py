"""The `augment` job: for each pair, the retrieved chunks and the question, joined by LlamaIndex's QA prompt.

It is the notebook's `augment_data_with_retrieval`: the contexts are joined into one example, or make one example each.
With distractors, training pairs get RAFT's contexts instead (`jobs.retrieval.distractors`). A training pair over two
chunks gets both. If `probe` has embedded the
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
from jobs.retrieval.distractors import Distractors, FoundChunk, scored_sources, setting
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
            if pair.second_chunk_id and pair.split == "train":
                found = await _with_both(pair, vector, self.retriever, work.paper, found)
        groups = _apart(found, pair) if settings.separate_context else [found]
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
        type=pair.type,
    )


def _apart(found: Sequence[FoundChunk], pair: Pair) -> list[list[FoundChunk]]:
    """Each context by itself, but for the two that a question over two chunks needs."""
    both = [one for one in found if one.context.chunk_id in pair.chunk_ids]
    if len(both) < 2:
        return [[one] for one in found]
    return [both, *([one] for one in found if one not in both)]


async def _with_both(
    pair: Pair, vector: Sequence[float], retriever: Retriever, paper: Sequence[Chunk], found: Sequence[FoundChunk]
) -> list[FoundChunk]:
    """`found` with both chunks of a question over two, in place of its last ones: no answer is learned from one alone."""
    there = {one.context.chunk_id for one in found}
    missing = [chunk for chunk in paper if chunk.id in pair.chunk_ids and chunk.id not in there]
    others = [one for one in found if one.context.chunk_id not in pair.chunk_ids]
    dropped = others[max(0, len(others) - len(missing)) :]
    kept = [one for one in found if one not in dropped]
    scores = await scored_sources(retriever, missing, vector)
    return kept + [
        FoundChunk(
            context=Context(chunk_id=chunk.id, rank=rank, score=scores[chunk.id], role="source"), text=chunk.text
        )
        for rank, chunk in enumerate(missing, start=len(kept))
    ]


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
    return "source" if chunk_id in pair.chunk_ids else "retrieved"
