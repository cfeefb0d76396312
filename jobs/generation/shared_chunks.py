"""The order of requests that makes the best use of a provider's prefix cache.

Prompts about one chunk have the same beginning. Requests in flight at the same time cannot use each other's cache
entry, because it exists only after the first prompt was read; requests that follow soon after can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, zip_longest
from typing import Any

from engine.job import Item

__all__ = ["by_turns"]


def by_turns(chunk_of: Callable[[Any], str], *, together: int) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """An order for `Job.feeds`: the first items of `together` chunks, then their second ones, and so on.

    `together` is the number of requests in flight: a chunk's first item is answered before its second one starts. The
    last chunks come first, because a cache that is smaller than a shard holds the latest prompts. `chunk_of` returns
    the id of the chunk of an item's value.
    """

    def ordered(items: Sequence[Item]) -> Iterable[Item]:
        chunks = [list(group) for _, group in groupby(items, lambda item: chunk_of(item.value))]
        chunks.reverse()
        for start in range(0, len(chunks), together):
            for turn in zip_longest(*chunks[start : start + together]):
                yield from (item for item in turn if item is not None)

    return ordered
