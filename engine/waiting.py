"""Who waits for a turn: the highest rank first, and of one rank who came first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Waiting"]

T = TypeVar("T")


class Waiting(Generic[T]):
    """A queue of things with ranks, each with a future that is done when its turn has come."""

    def __init__(self) -> None:
        self._by_rank: dict[int, OrderedDict[T, asyncio.Future[None]]] = {}
        self._ranks: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def add(self, who: T, rank: int) -> asyncio.Future[None]:
        """Put `who` at the end of its rank, and return its future."""
        future = asyncio.get_running_loop().create_future()
        self._ranks[who] = rank
        self._by_rank.setdefault(rank, OrderedDict())[who] = future
        return future

    def first(self) -> tuple[T, asyncio.Future[None]]:
        """Who is next; it stays in the queue."""
        return next(iter(self._by_rank[max(self._by_rank)].items()))

    def remove(self, who: T) -> bool:
        """Take `who` out, wherever it stands; returns whether it was there."""
        rank = self._ranks.pop(who, None)
        if rank is None:
            return False
        del self._by_rank[rank][who]
        if not self._by_rank[rank]:
            del self._by_rank[rank]
        return True
