"""Distractors (RAFT, arXiv 2403.10131): retrieved chunks that look like the answer's source and are not.

A drawn training pair gets its own chunk (or both of a question over two) among k distractors, in shuffled order, or k distractors without it. No
distractor is the source, its neighbour in the paper (neighbours overlap), a chunk that shares a passage with it, or one
so near to it that both say the same. All draws are hashes of the seed and the pair, so they do not depend on time or
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import Permanent
from engine.records import make_id
from jobs.config import Augment
from jobs.models.embeddings import cosine
from jobs.records import Chunk, Context, Pair
from jobs.retrieval.index import Retriever
from jobs.run.normal_text import words

__all__ = ["NEAR", "Distractors", "FoundChunk", "Setting", "overlap", "scored_sources", "setting"]

NEAR = 0.95
"""From this cosine on, two chunks say the same."""

_PASSAGE_WORDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Whether one pair's example gets distractors, and whether it gets its source."""

    distracted: bool
    with_source: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundChunk:
    """A context with the text of its chunk."""

    context: Context
    text: str


def setting(pair: Pair, settings: Augment, seed: int) -> Setting:
    """The draw for one pair, by hash. Only training pairs get distractors: validation uses what a user would retrieve."""
    distracted = (
        settings.distractors > 0
        and pair.split == "train"
        and _draw("distracted", seed, pair.id) < settings.distractor_share
    )
    with_source = not distracted or _draw("without source", seed, pair.id) >= settings.without_source
    return Setting(distracted=distracted, with_source=with_source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distractors:
    """Finds the contexts of examples with distractors."""

    retriever: Retriever
    settings: Augment
    seed: int

    async def around(
        self, pair: Pair, vector: Sequence[float], paper: Sequence[Chunk], *, with_source: bool
    ) -> list[FoundChunk]:
        """The contexts of one example, in shuffled order; `paper` holds the chunks of the pair's paper.

        There are fewer distractors than configured if the corpus has no more. Raises `Permanent` (kind "no_context")
        when there is neither source nor distractor.
        """
        sources = [chunk for chunk in paper if chunk.id in pair.chunk_ids]
        neighbours = {
            chunk.id for chunk in paper if any(abs(chunk.position - source.position) <= 1 for source in sources)
        }
        chosen = await self._nearest(pair, vector, sources, neighbours)
        if with_source:
            scores = await scored_sources(self.retriever, sources, vector)
            chosen += [(source.id, scores[source.id], source.text) for source in sources]
        if not chosen:
            raise Permanent("no chunk of the corpus can distract from this pair's own", kind="no_context")
        chosen.sort(key=lambda found: make_id("place", self.seed, pair.id, found[0]))
        roles = {source.id: "source" for source in sources}
        return [
            FoundChunk(
                context=Context(chunk_id=id_, rank=rank, score=score, role=roles.get(id_, "distractor")), text=text
            )
            for rank, (id_, score, text) in enumerate(chosen)
        ]

    async def _nearest(
        self, pair: Pair, vector: Sequence[float], sources: Sequence[Chunk], neighbours: set[str]
    ) -> list[tuple[str, float, str]]:
        """The nearest chunks to the question that can be distractors; searches further while there are too few."""
        settings, wide = self.settings, 2 * self.settings.distractors + 8
        while True:
            found = await self.retriever.search(
                vector,
                top_k=wide,
                paper_id=pair.paper_id if settings.scope == "paper" else None,
                without_split="val" if settings.leave_out_validation else None,
            )
            strange = [
                chunk
                for chunk in found
                if chunk[0] not in neighbours and not any(overlap(chunk[2], source.text) for source in sources)
            ]
            known = await self.retriever.vectors([*(each.id for each in sources), *(id_ for id_, _, _ in strange)])
            own = [known[source.id].tolist() for source in sources if source.id in known]
            far = [chunk for chunk in strange if all(cosine(known[chunk[0]].tolist(), each) < NEAR for each in own)]
            if len(far) >= settings.distractors or len(found) < wide or wide >= _WIDEST:
                return far[: settings.distractors]
            wide *= 4


_WIDEST = 512


async def scored_sources(retriever: Retriever, sources: Sequence[Chunk], vector: Sequence[float]) -> dict[str, float]:
    """The cosine of each source to the question's `vector`, by id; 0 for one whose embedding failed."""
    known = await retriever.vectors([source.id for source in sources]) if sources else {}
    return {
        source.id: round(cosine(vector, known[source.id].tolist()), 6) if source.id in known else 0.0
        for source in sources
    }


def overlap(one: str, other: str) -> bool:
    """Whether two texts share a passage of twelve words, as neighbouring chunks and copies do."""
    return not _passages(one).isdisjoint(_passages(other))


def _passages(text: str) -> set[str]:
    said = words(text)
    return {" ".join(said[at : at + _PASSAGE_WORDS]) for at in range(max(1, len(said) - _PASSAGE_WORDS + 1))}


def _draw(what: str, seed: int, id_: str) -> float:
    """A number from 0 to 1 (exclusive), determined by the arguments alone."""
    return int(make_id(what, seed, id_)[:13], 16) / 16**13
