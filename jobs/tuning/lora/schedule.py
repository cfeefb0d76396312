"""What each step of a training does is a function of its number alone, so a resumed training does the remaining
steps."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from engine.records import make_id

__all__ = ["Schedule"]

_WARM_UP = 0.1
"""The share of steps over which the learning rate rises to its maximum; it falls to zero over the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`examples` in batches of `batch_size`, for `epochs` epochs, each in another order. Steps count from 1."""

    examples: int
    batch_size: int
    epochs: int
    learning_rate: float
    seed: int

    @property
    def steps(self) -> int:
        return self.epochs * self._steps_per_epoch

    def batch(self, step: int) -> tuple[int, ...]:
        """The indices of the examples of this step; every epoch has each example once."""
        epoch, place = divmod(step - 1, self._steps_per_epoch)
        order = _order(self.examples, self.seed, epoch)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def rate(self, step: int) -> float:
        """The learning rate of this step: linear up, then linear down."""
        warm_up = max(1, round(_WARM_UP * self.steps))
        if step <= warm_up:
            return self.learning_rate * step / warm_up
        return self.learning_rate * (self.steps + 1 - step) / (self.steps + 1 - warm_up)

    def epoch(self, step: int) -> float:
        """How many epochs are done after this step."""
        return step / self._steps_per_epoch

    def random_seed(self, step: int) -> int:
        """The seed of what is random in this step (dropout)."""
        return int(make_id("step", self.seed, step), 16) % 2**63

    @property
    def _steps_per_epoch(self) -> int:
        return ceil(self.examples / self.batch_size)


@lru_cache(maxsize=2)
def _order(examples: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(examples))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)
