from __future__ import annotations

import importlib
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job import Item
from jobs.generation.shared_chunks import by_turns

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def items(questions: list[int]) -> list[Item]:
    """So many items of each chunk, as `answer` has them."""
    return [
        Item(id=f"{chunk}.{number}", value=str(chunk))
        for chunk, count in enumerate(questions)
        for number in range(count)
    ]


def test_the_last_chunks_come_first_and_by_turns() -> None:
    """Of each few chunks the first items come first, then the second ones; the chunks that were asked last lead."""
    ordered = by_turns(lambda value: value, together=2)(items([2, 1, 2, 3, 2]))
    assert [item.id for item in ordered] == "4.0 3.0 4.1 3.1 3.2 2.0 1.0 2.1 0.0 0.1".split()


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 9))
def test_every_item_comes_once(questions: list[int], together: int) -> None:
    """The order holds each item once; a chunk's own items keep their order, with all other first ones between."""
    given_items = items(questions)
    ordered = list(by_turns(lambda value: value, together=together)(given_items))
    assert sorted(item.id for item in ordered) == sorted(item.id for item in given_items)
    for _, own in groupby(sorted(ordered, key=lambda item: item.value), lambda item: item.value):
        ids = [item.id for item in own]
        assert ids == sorted(ids)
    full = [count for count in questions if count]
    if together >= len(full) and full:
        assert len({item.value for item in ordered[: len(full)]}) == len(full)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "least"), [(0.5, 0.25), (1.25, 0.4)])
def test_more_of_the_prompts_is_found_in_a_cache(part: float, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix cache smaller than the shards in work finds nothing of prompts in their order, and much in ours."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    bench = importlib.import_module("bench_prefix")
    found = [
        bench.measured(order, round(part * 60 * bench.WORDS), shards=2, chunks=60, in_flight=6)
        for order in ("before", "after")
    ]
    assert found[0].share == 0
    assert found[1].share > least
    assert found[1].seconds < 1.1 * found[0].seconds
