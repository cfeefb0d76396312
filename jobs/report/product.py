"""What a run has made, its pairs: some of them to read, how long they are, how many a paper has, how they were split.

One pass over the pairs. In memory are a sample, which a hash with the run's seed draws, and counts: neither grows with
the corpus, and the same pairs give the same sample in any order.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.datasets import Dataset
from engine.records import make_id
from jobs.config import Config
from jobs.curation.curate import kept_pairs
from jobs.records import Chunk, Curated, Pair

__all__ = ["Product", "ShownPair", "Spread", "product", "split_words", "spread"]

_KEPT = 12
_REFUSED = 3  # of each reason
_REASONS = 12
_BINS = 20
_STEPS = [step * 10**power for power in range(9) for step in (1, 2, 5)]


class ShownPair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair to read, with the title and the page of its chunk; ``reason`` and ``detail`` where it was refused."""

    question: str
    answer: str
    title: str = ""
    page: int = 0
    split: str = ""
    reason: str = ""
    detail: str = ""
    type: str = ""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How some whole numbers are spread: ``counts[i]`` are from ``i * step`` on, below the next; the last bin has all
    that are above, too.
    """

    name: str
    step: int
    counts: list[int]
    median: int
    most: int


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """The pairs of a run: counts, a sample of those that are kept and of those that were refused, and their lengths.

    ``types`` counts the kept pairs by the type of their question; it is empty where they have none.
    """

    kept: int = 0
    types: dict[str, int] = {}
    sample: list[ShownPair] = []
    refused: list[ShownPair] = []
    lengths: list[Spread] = []
    per_paper: Spread | None = None
    split: str = ""


def product(config: Config, datasets: Mapping[str, Dataset[Any]], papers: int = 0) -> Product:
    """The pairs of the run; `papers` were parsed, 0 where the pairs are from a file; blocks."""
    kept, refused = _Sample(_KEPT), dict[str, _Sample]()
    lengths = {"words of a question": Counter[int](), "words of an answer": Counter[int]()}
    pairs_of_papers: Counter[int] = Counter()
    types: Counter[str] = Counter()
    used = kept_pairs(datasets, config)
    for shard in used.sealed():
        of_paper: Counter[str] = Counter()
        for pair in used.read(shard):
            kept.offer(_key(config, pair.id), shard, pair)
            of_paper[pair.paper_id] += 1
            types[pair.type] += 1
            for counter, text in zip(lengths.values(), (pair.question, pair.answer), strict=True):
                counter[len(text.split())] += 1
        pairs_of_papers.update(of_paper.values())
        for row in datasets["curated"].read(shard):
            if not row.kept and (row.reason in refused or len(refused) < _REASONS):
                refused.setdefault(row.reason, _Sample(_REFUSED)).offer(_key(config, row.pair_id), shard, row)
    if papers:
        pairs_of_papers[0] += max(0, papers - pairs_of_papers.total())
    return Product(
        kept=kept.seen,
        types=dict(sorted(types.items())) if any(types) else {},
        sample=_shown(kept.chosen(), datasets["chunks"]),
        refused=_shown([each for _, sample in sorted(refused.items()) for each in sample.chosen()], datasets["chunks"]),
        lengths=[spread(name, counts) for name, counts in lengths.items() if counts],
        per_paper=spread("pairs of a paper", pairs_of_papers) if papers else None,
        split=split_words(config),
    )


def spread(name: str, counts: Mapping[int, int]) -> Spread:
    """The numbers in `counts`, each with how often it was seen, in at most twenty bins; a rare tail shares the last."""
    ordered, total = sorted(counts), sum(counts.values())
    up_to: dict[int, int] = {}
    for number in ordered:
        up_to[number] = counts[number] + (up_to[ordered[len(up_to) - 1]] if up_to else 0)
    top = next(number for number in ordered if up_to[number] >= 0.99 * total)
    step = next(step for step in _STEPS if top // step < _BINS)
    bins = [0] * (top // step + 1)
    for number in ordered:
        bins[min(number // step, len(bins) - 1)] += counts[number]
    median = next(number for number in ordered if 2 * up_to[number] >= total)
    return Spread(name=name, step=step, counts=bins, median=median, most=ordered[-1])


def split_words(config: Config) -> str:
    """How training and validation were parted, in a few sentences."""
    if config.evaluate.pairs:
        return "The pairs are from a file. No model of the run was trained on them, so all count as validation."
    train = f"{100 * config.split.train:.0f} %"
    drawn = f"a hash of what each says decides (seed {config.seed}), so copies fall on one side"
    match config.split.by:
        case "paper":
            return (
                f"About {train} of the papers are for training, the others for validation: {drawn}. No paper has both."
            )
        case "chunk":
            return (
                f"About {train} of the chunks are for training, the others for validation: {drawn}. "
                "No chunk has both, but a paper may."
            )
        case "question":
            return (
                f"About {train} of the questions are for training, the others for validation. "
                "Both may be about one chunk, so validation is not independent."
            )
        case _:
            return ""


class _Sample:
    """The `size` rows with the smallest keys, of all that are offered."""

    def __init__(self, size: int) -> None:
        self.seen = 0
        self._size = size
        self._heap: list[tuple[int, int, Pair | Curated]] = []

    def offer(self, key: int, shard: int, row: Pair | Curated) -> None:
        self.seen += 1
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (-key, shard, row))
        elif -key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-key, shard, row))

    def chosen(self) -> list[tuple[int, Pair | Curated]]:
        """The shard and the row of each, by key."""
        return [(shard, row) for _, shard, row in sorted(self._heap, key=lambda each: -each[0])]


def _key(config: Config, pair_id: str) -> int:
    return int(make_id("shown", config.seed, pair_id), 16)


def _shown(chosen: list[tuple[int, Pair | Curated]], chunks: Dataset[Chunk]) -> list[ShownPair]:
    """What a reader sees of each; only the shards of their chunks are read."""
    wanted = {row.chunk_id for _, row in chosen}
    there = {
        chunk.id: chunk
        for shard in sorted({shard for shard, _ in chosen})
        for chunk in chunks.read(shard)
        if chunk.id in wanted
    }
    return [
        ShownPair(
            question=row.question,
            answer=row.answer,
            title=there[row.chunk_id].title if row.chunk_id in there else "",
            page=there[row.chunk_id].page_first if row.chunk_id in there else 0,
            split=row.split,
            reason=row.reason if isinstance(row, Curated) else "",
            detail=row.detail if isinstance(row, Curated) else "",
            type=row.type if isinstance(row, Pair) else "",
        )
        for _, row in chosen
    ]
