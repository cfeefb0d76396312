"""The types of question that are asked for: which of a chunk's questions is of which type, and the second chunk of one
over two.

All draws are hashes of the seed and the chunk, so they depend neither on time nor on order, and a chunk that is asked
for more questions later keeps the types of its first ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from engine.records import make_id
from jobs.config.generation import QUESTION_TYPES
from jobs.generation.quota import Typed, Wanted
from jobs.generation.words import terms
from jobs.records import Chunk

__all__ = ["MULTI_STEP", "TYPES", "Types", "second_chunk"]

TYPES: Mapping[str, str] = {
    "fact": "what something is, does, has or shows",
    "how": "in what way something works or is done",
    "why": "the reason or the cause of something",
    "compare": "in what two things differ or agree",
    "number": "an amount, with its unit",
}
"""The types of question about one chunk, each with what is asked for."""

MULTI_STEP = "multi_step"
"""The type of a question that needs two chunks of one paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """``shares`` are those of each type, together 1; {} asks for no types."""

    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def of(self, chunk_id: str, count: int, *, before: int = 0, alone: bool = False) -> tuple[str, ...]:
        """The types of `count` questions about a chunk that was asked for `before` questions already.

        `alone` says that no second chunk is there: then the other types share what "multi_step" has. Empty where no
        types are asked for.
        """
        shares = {name: self.shares.get(name, 0.0) for name in QUESTION_TYPES if not (alone and name == MULTI_STEP)}
        whole = sum(shares.values())
        if not whole:
            return ()
        start = int(make_id("type", self.seed, chunk_id)[:13], 16) / 16**13
        # The steps of the golden ratio spread the questions of one chunk over the types.
        draws = ((start + number * _GOLDEN) % 1 * whole for number in range(before, before + count))
        return tuple(_drawn(shares, draw) for draw in draws)

    def typed(self, can_ask: Callable[[Chunk], bool]) -> Typed:
        """The function that gives what is wanted its types, and a second chunk about which `can_ask` is true."""

        def give(wanted: Wanted, paper: Sequence[Chunk]) -> Wanted:
            chunk, count, before = wanted.chunk, wanted.count, wanted.before
            types = self.of(chunk.id, count, before=before)
            if MULTI_STEP not in types:
                return replace(wanted, types=types)
            second = second_chunk(chunk, [each for each in paper if can_ask(each)])
            if second is None:
                return replace(wanted, types=self.of(chunk.id, count, before=before, alone=True))
            return replace(wanted, types=types, second=second)

        return give


_NEAREST = 256
_said = lru_cache(maxsize=4 * _NEAREST)(terms)
_GOLDEN = (math.sqrt(5) - 1) / 2


def _drawn(shares: Mapping[str, float], draw: float) -> str:
    chosen = ""
    for name, share in shares.items():
        if share:
            chosen = name
            if draw < share:
                break
        draw -= share
    return chosen


def second_chunk(chunk: Chunk, paper: Sequence[Chunk]) -> Chunk | None:
    """The chunk of its `paper` that is asked about together with `chunk`; None if there is none.

    It is the one of the same split that shares the most of the rarer words with it, among the nearest 256. Neighbours
    overlap, so one is taken only where there is no other.
    """
    others = [each for each in paper if each.id != chunk.id and each.split == chunk.split]
    apart = [each for each in others if abs(each.position - chunk.position) > 1] or others
    if not apart:
        return None
    apart = sorted(apart, key=lambda each: (abs(each.position - chunk.position), each.position))[:_NEAREST]
    said = {each.id: _said(each.text) for each in (chunk, *apart)}
    seen = Counter(term for each in said.values() for term in each)
    weight = {term: math.log((1 + len(said)) / count) for term, count in seen.items()}
    own = said[chunk.id]

    def likeness(other: Chunk) -> tuple[float, int, int]:
        theirs = said[other.id]
        shared, length = (math.fsum(weight[term] for term in each) for each in (own & theirs, theirs))
        distance = abs(other.position - chunk.position)
        return round(shared / math.sqrt(length), 9) if length else 0.0, -distance, -other.position

    return max(apart, key=likeness)
