"""A prefix cache like that of model servers: a shared beginning of recent prompts is not computed again.

A prompt is cut into blocks of `BLOCK_TOKENS` words; the key of a block covers it and all blocks before it. A prompt
hits the cache up to its first block that is missing. Blocks enter the cache with the first token of the answer. The
least recently used leave first, the end of a prompt before its beginning.
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
"""The length of a block; the rest at the end of a prompt is in none."""


class PrefixCache:
    """The blocks of recent prompts, about `tokens` tokens in total."""

    def __init__(self, tokens: int) -> None:
        self._most = math.ceil(tokens / BLOCK_TOKENS)
        self._ready_at_s: OrderedDict[int, float] = OrderedDict()

    def find(self, model: str, prompt: str, now_s: float) -> int:
        """How many tokens from the start of `prompt` the cache holds at this time."""
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
    """The end and the key of each block of `prompt`."""
    known_by = hash(model)
    for block in _BLOCK.finditer(prompt):
        known_by = hash((known_by, block[0]))
        yield block.end(), known_by
