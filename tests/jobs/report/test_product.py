from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import chunk, pair, sealed

from engine.datasets import Dataset
from jobs.config import Config
from jobs.curation.curate import _row
from jobs.curation.rules import Fault
from jobs.records import Chunk, Curated, Pair
from jobs.report.product import product, split_words, spread
from jobs.run.configfile import validate

ON = Config().resolved(papers=50)
OFF = validate({"curate": {"rules": False, "near_duplicates": False, "round_trip": False}})


def made(number: int) -> Pair:
    text = "What is " + "so " * (number % 5) + f"number {number}?"
    return pair(f"a{number}", chunk=f"c{number % 4}", paper=f"p{number // 20}", text=text)


def curated(number: int, reason: str = "") -> Curated:
    return _row(made(number), Fault(reason=reason, detail=f"because {number}") if reason else None)


def datasets(folder: Path, *shards: Sequence[Curated]) -> dict[str, Dataset[Any]]:
    chunks = [[msgspec.structs.replace(chunk(f"c{number}"), page_first=number) for number in range(4)] for _ in shards]
    return {
        "curated": sealed(folder / "curated", Curated, *shards),
        "chunks": sealed(folder / "chunks", Chunk, *chunks),
        "pairs": sealed(folder / "pairs", Pair, *[[made(int(row.pair_id[1:])) for row in rows] for rows in shards]),
    }


def test_the_pairs_of_a_run(tmp_path: Path) -> None:
    """Kept and refused pairs are counted and sampled with their places; papers without any count as such."""
    rows = [curated(number, "critic" if number % 10 == 7 else "") for number in range(60)]
    found = product(ON, datasets(tmp_path, rows[:20], rows[20:40], rows[40:]), papers=5)
    assert (found.kept, len(found.sample), len(found.refused)) == (54, 12, 3)
    assert {each.reason for each in found.refused} == {"critic"}
    assert found.refused[0].detail.startswith("because")
    assert {each.title for each in found.sample} == {"On Mills"}
    assert {each.page for each in found.sample} <= {0, 1, 2, 3}
    assert found.per_paper is not None
    assert (found.per_paper.median, found.per_paper.most, found.per_paper.counts[0]) == (18, 18, 2)
    assert [each.name for each in found.lengths] == ["words of a question", "words of an answer"]


def test_types_are_counted(tmp_path: Path) -> None:
    """Of the kept pairs, and those without one, too; where no pair has a type there is nothing to say."""
    there = datasets(tmp_path, [curated(number, "critic" if number == 3 else "") for number in range(4)])
    assert product(ON, there).types == {}
    types = ("why", "why", "", "how")
    typed = [msgspec.structs.replace(made(number), type=name) for number, name in enumerate(types)]
    there["pairs"].write_sealed(0, typed)
    found = product(ON, there)
    assert found.types == {"": 1, "why": 2}
    assert sorted(each.type for each in found.sample) == ["", "why", "why"]


def test_the_sample_does_not_depend_on_shards(tmp_path: Path) -> None:
    """The same pairs in other shards and another order give the same sample; another seed gives another."""
    rows = [curated(number) for number in range(200)]
    shuffled = random.Random(1).sample(rows, 200)
    one = product(ON, datasets(tmp_path / "one", rows))
    other = product(ON, datasets(tmp_path / "other", shuffled[:70], shuffled[70:]))
    assert [each.question for each in one.sample] == [each.question for each in other.sample]
    reseeded = product(ON.model_copy(update={"seed": 1}), datasets(tmp_path / "seed", rows))
    assert reseeded.sample != one.sample


def test_pairs_of_a_run_without_curation(tmp_path: Path) -> None:
    """Where nothing is curated every pair is a kept one."""
    assert not OFF.curate.on
    found = product(OFF, datasets(tmp_path, [curated(1)]))
    assert (found.kept, [each.question for each in found.sample]) == (1, [made(1).question])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pairs(tmp_path: Path) -> None:
    """Ten times the shards take no more memory at once."""
    shard = [curated(number, "critic" if number % 3 else "") for number in range(500)]
    few, many = datasets(tmp_path / "few", *[shard] * 2), datasets(tmp_path / "many", *[shard] * 20)
    product(ON, few)

    def peak(of: dict[str, Dataset[Any]]) -> int:
        tracemalloc.start()
        product(ON, of)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(many) < 1.5 * peak(few)


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 50), min_size=1, max_size=40))
def test_a_spread_counts_all(counts: dict[int, int]) -> None:
    """Whatever the numbers are, each is in one of at most twenty bins; the median is one of them."""
    found = spread("x", counts)
    assert sum(found.counts) == sum(counts.values())
    assert 1 <= len(found.counts) <= 20
    ordered = sorted(Counter(counts).elements())
    assert found.median == ordered[(len(ordered) - 1) // 2]
    assert found.most == ordered[-1]


def test_how_the_split_was_made() -> None:
    """Each way of splitting has its sentence, with the share, and with what may stand on both sides."""
    assert "70 % of the papers" in split_words(ON)
    assert "a paper may" in split_words(Config().resolved(papers=3))
    assert "not independent" in split_words(validate({"split": {"by": "question"}}))
    assert "from a file" in split_words(validate({"evaluate": {"pairs": "x.json"}}))
