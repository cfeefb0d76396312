"""The provider's queue of one role: how many tokens may wait there, as configured or as learned from its refusals."""

from __future__ import annotations

import asyncio

__all__ = ["ProviderQueue"]


_NEAR, _GROWTH = 0.7, 1.25


class ProviderQueue:
    """Lets batches in one by one, as long as their tokens fit below ``limit``; None is no limit.

    One that is larger than the limit goes in when no other is there: only the provider knows whether it fits. A limit that
    is learned grows again as batches are taken, because others may use the same queue; one that is `configured` does not.
    """

    def __init__(self, configured: int | None) -> None:
        self.limit = configured
        self._configured = configured
        self._tokens: dict[int, int] = {}
        self._changed = asyncio.Event()

    def take(self, number: int, tokens: int) -> None:
        """Let a batch in that is there already."""
        self._tokens[number] = tokens

    async def enter(self, number: int, tokens: int) -> None:
        """Wait until batch `number` may go in."""
        while self.limit is not None and self._others(number) > 0 and self._others(number) + tokens > self.limit:
            await self._changed.wait()
        self._tokens[number] = tokens

    def leave(self, number: int) -> None:
        """The batch has ended, or was not let in."""
        if self._tokens.pop(number, None) is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def taken(self) -> None:
        """The provider has taken a batch. Where that comes near the limit, there may be more room."""
        inside = sum(self._tokens.values())
        if self.limit is not None and self._configured is None and inside > _NEAR * self.limit:
            self.limit = round(_GROWTH * max(self.limit, inside))

    def refused(self, number: int, tokens: int) -> bool:
        """The provider has refused this batch for its queue. Returns whether others of ours are in its way."""
        self.leave(number)
        others = self._others(number)
        if others:
            self.limit = min(self.limit or others + tokens, others + tokens - 1)
        return bool(others)

    def _others(self, number: int) -> int:
        """The tokens of all other batches that are in."""
        return sum(tokens for other, tokens in self._tokens.items() if other != number)
