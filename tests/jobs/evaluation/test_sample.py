from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import pair, sealed

from jobs.evaluation.sample import choose
from jobs.records import Pair


def pairs(count: int, raised: int = 0) -> list[Pair]:
    made = (pair(f"{raised} {number}", chunk="c", split="val" if number % 3 else "train") for number in range(count))
    return [msgspec.structs.replace(one, raised=raised) for one in made]


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(1, 9), st.integers(0, 9))
def test_who_was_compared_stays(first: int, second: int, third: int, size: int, more: int) -> None:
    """A larger sample, and one of pairs that a raise has added to, holds all pairs of the one before, in any order."""
    with TemporaryDirectory() as folder:
        shards = [pairs(first), pairs(second, 1), pairs(third, 2)]
        chosen = [
            choose(sealed(Path(folder) / str(count), Pair, *reversed(shards[:count])), wanted, seed=0)
            for count, wanted in ((1, size), (2, size), (3, size), (3, size + more))
        ]
        for before, after in pairwise(chosen):
            assert before.items() <= after.items()
        for count, sample in zip((1, 2, 3), chosen, strict=False):
            there = Counter(one.split for shard in shards[:count] for one in shard)
            assert Counter(drawn.split for drawn in sample.values()) == {
                split: min(size, number) for split, number in there.items()
            }
