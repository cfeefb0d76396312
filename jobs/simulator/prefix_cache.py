"""A prefix cache, as model servers have one: what the beginnings of recent prompts share is not computed again.

A prompt is cut into blocks of `BLOCK_TOKENS` words; a block is known by itself and all before it. Of a prompt those
blocks are found that stand in the cache from its first on. They are there once the first token of an answer to them is
out, and the ones that were used longest ago go first, the end of a prompt before its beginning.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator

from jobs.simulator.answers import count_tokens

__all__ = ["BLOCK_TOKENS", "PrefixCache"]

BLOCK_TOKENS = 16
_BLOCK = re.compile(rf"\s*(?:\S+\s+){{{BLOCK_TOKENS}}}")
"""A whole block: what is left at the end of a prompt is in none."""


class PrefixCache:
    """Holds the blocks of recent prompts, of about `tokens` tokens together."""

    def __init__(self, tokens: int) -> None:
        self._most = math.ceil(tokens / BLOCK_TOKENS)
        self._ready_at_s: OrderedDict[int, float] = OrderedDict()

    def find(self, model: str, prompt: str, now_s: float) -> int:
        """How many tokens of `prompt`, from its first on, the cache holds at this time."""
        end = 0
        for place, block in _blocks(model, prompt):
            if self._ready_at_s.get(block, math.inf) > now_s:
                break
            end = place
        return count_tokens(prompt[:end])

    def keep(self, model: str, prompt: str, ready_at_s: float) -> None:
        """Put `prompt` into the cache, for prompts that come at `ready_at_s` or later."""
        for _, block in reversed(list(_blocks(model, prompt))):
            self._ready_at_s[block] = min(ready_at_s, self._ready_at_s.get(block, math.inf))
            self._ready_at_s.move_to_end(block)
        while len(self._ready_at_s) > self._most:
            self._ready_at_s.popitem(last=False)


def _blocks(model: str, prompt: str) -> Iterator[tuple[int, int]]:
    """Where each block of `prompt` ends, and what it is known by."""
    known_by = hash(model)
    for block in _BLOCK.finditer(prompt):
        known_by = hash((known_by, block[0]))
        yield block.end(), known_by
