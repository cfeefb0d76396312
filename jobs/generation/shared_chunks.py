"""The order of requests in which a provider's prefix cache finds the most.

Prompts about one chunk begin alike. Requests that are in flight together find nothing of each other, because a prompt
is in a cache only once it was read; those that follow soon after find it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, zip_longest
from typing import Any

from engine.job import Item

__all__ = ["by_turns"]


def by_turns(chunk_of: Callable[[Any], str], *, together: int) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """An order for `Job.feeds`: the first items of `together` chunks, then their second ones, and so on.

    `together` is how many requests are in flight: by the time of a chunk's second item its first was answered. The last
    chunks come first, as a cache that is smaller than a shard holds what it was asked last. `chunk_of` gives the id of
    the chunk from an item's value.
    """

    def ordered(items: Sequence[Item]) -> Iterable[Item]:
        chunks = [list(group) for _, group in groupby(items, lambda item: chunk_of(item.value))]
        chunks.reverse()
        for start in range(0, len(chunks), together):
            for turn in zip_longest(*chunks[start : start + together]):
                yield from (item for item in turn if item is not None)

    return ordered
