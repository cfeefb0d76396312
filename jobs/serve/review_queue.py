"""Which pairs a person reviews, and in which order: a sample drawn by a seed, the critic's lowest, or one of each paper.

Only kept pairs are in a queue, because the share of them that a person accepts is the quality of the data. A draw reads
the shards of the drawn pairs alone; how many rows a shard has is in its seal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

import msgspec

from engine.records import make_id
from jobs.serve.pair_marks import PairQuery
from jobs.serve.site import Site

__all__ = ["KINDS", "LONGEST", "QueueAsked", "Ref", "queue_of"]

KINDS = ("random", "critic", "paper")
LONGEST = 1000
_CRITIC_S = 30.0
"""How long all shards are looked at for the critic's lowest, the first time."""


class QueueAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A queue of at most ``size`` pairs, of one of `KINDS`; or the one pair ``pair`` of shard ``shard``, with kind ""."""

    kind: str = "random"
    seed: int = 0
    size: int = 100
    shard: int = 0
    pair: str = ""


class Ref(NamedTuple):
    """Where a pair is: its shard and its id."""

    shard: int
    pair_id: str


def queue_of(site: Site, asked: QueueAsked) -> list[Ref]:
    """The pairs of a queue, in order; the same ones for the same rows; blocks."""
    match asked.kind:
        case "random":
            refs = _random(site, asked.seed)
        case "critic":
            refs = _lowest(site, asked.size)
        case "paper":
            refs = _one_a_paper(site, asked.seed)
        case _:
            refs = iter([Ref(asked.shard, asked.pair)])
    return list(islice(refs, asked.size))


def _random(site: Site, seed: int) -> Iterator[Ref]:
    """Kept pairs, each as likely as any other: rows are drawn without repetition, those not kept are passed over."""
    pairs, random = site.committed["pairs"], Random(seed)
    total = sum(sums.rows for sums in pairs.sums().values())
    shards: dict[int, list[str | None]] = {}
    moved: dict[int, int] = {}  # a shuffle of all rows, of which only the part that was drawn is kept
    for place in range(total):
        other = random.randrange(place, total)
        drawn, moved[other] = moved.get(other, other), moved.get(place, place)
        for found in pairs.window(drawn, 1):
            if found.shard not in shards:
                kept = _kept(site, found.shard)
                shards[found.shard] = [
                    row.id if kept is None or row.id in kept else None for row in pairs.rows(found.shard, _Pair)
                ]
            ids = shards[found.shard]
            if found.row < len(ids) and (id_ := ids[found.row]) is not None:
                yield Ref(found.shard, id_)


def _lowest(site: Site, size: int) -> Iterator[Ref]:
    """Those that the critic has rated lowest, the lowest first."""
    decision = "kept" if site.committed["curated"].sums() else ""
    query = PairQuery(decision=decision, critic=5, order="critic")
    lines, _, _ = site.pairs.page(query, 0, size, _CRITIC_S)
    order = sorted(lines, key=lambda line: line.critic or 0)  # they come shard by shard
    return (Ref(line.shard, line.pair.id) for line in order)


def _one_a_paper(site: Site, seed: int) -> Iterator[Ref]:
    """One kept pair of each paper, drawn by the seed; the papers shard by shard, in a seeded order."""
    pairs = site.committed["pairs"]
    shards = list(pairs.sums())
    Random(seed).shuffle(shards)
    for shard in shards:
        kept, drawn = _kept(site, shard), dict[str, str]()
        for row in pairs.rows(shard, _Pair):
            if kept is None or row.id in kept:
                before = drawn.get(row.paper_id, row.id)
                drawn[row.paper_id] = min(before, row.id, key=lambda id_: make_id("review", seed, id_))
        yield from (Ref(shard, id_) for id_ in drawn.values())


def _kept(site: Site, shard: int) -> set[str] | None:
    """The kept pairs of a shard; None in a run that is not curated, where all are."""
    curated = site.committed["curated"]
    if not curated.sums():
        return None
    return {row.pair_id for row in curated.rows(shard, _Decision) if row.kept}


class _Pair(msgspec.Struct, gc=False):
    id: str
    paper_id: str


class _Decision(msgspec.Struct, gc=False):
    pair_id: str
    kept: bool
