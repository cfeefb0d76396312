"""The quality of retrieval: whether the chunk that a question was made from is among the contexts.

All models get the same contexts, so this is a figure of the run and not of a model. Only the chunk itself counts; other
chunks that answer the question are not known, so these are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobs.records import Context, Response
from jobs.report.data import SPLITS, RetrievalQuality
from jobs.report.intervals import Mean, mean

__all__ = ["retrieval_quality"]

_CUTS = (1, 2, 3, 5, 10, 20, 50)


def retrieval_quality(
    responses: Iterable[Response], sources: Mapping[str, str], *, seed: int = 0
) -> list[RetrievalQuality]:
    """Hit rate, mean reciprocal rank and recall@k for each split, over the questions that were asked with retrieval.

    `sources` gives each pair's chunk; a pair that is not in it counts as unscored.
    """
    asked = {response.pair_id: response for response in responses if response.retrieval}
    splits = {response.split for response in asked.values()}
    order = [split for split in SPLITS if split in splits] + sorted(splits - SPLITS.keys())
    return [_found(split, [each for each in asked.values() if each.split == split], sources, seed) for split in order]


def _found(split: str, responses: list[Response], sources: Mapping[str, str], seed: int) -> RetrievalQuality:
    known = [response.pair_id in sources for response in responses]
    places = [_place(response.contexts, sources.get(response.pair_id)) for response in responses]
    papers = [response.paper_id for response in responses]

    def averaged(scores: list[float]) -> Mean:
        scored = [score if is_known else None for score, is_known in zip(scores, known, strict=True)]
        return mean(scored, papers, bounds=(0.0, 1.0), seed=seed)

    deepest = max((context.rank + 1 for response in responses for context in response.contexts), default=1)
    cuts = [*(cut for cut in _CUTS if cut < deepest), deepest]
    recall = {cut: averaged([float(place is not None and place <= cut) for place in places]) for cut in cuts}
    reciprocal = averaged([1 / place if place else 0.0 for place in places])
    return RetrievalQuality(split=split, hit_rate=recall[deepest], mrr=reciprocal, recall=recall)


def _place(contexts: list[Context], source: str | None) -> int | None:
    """The place of the source among the contexts, from 1."""
    return min((context.rank + 1 for context in contexts if context.chunk_id == source), default=None)
