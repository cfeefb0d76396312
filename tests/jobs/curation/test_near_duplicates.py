"""Near-duplicate questions: which are found, and what a decision may depend on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Fatal
from jobs.curation.near_duplicates import Asked, NearQuestions
from jobs.models.embeddings import pack


def asked(name: str, *vector: float, question: str = "What is ground?") -> Asked:
    return Asked(id=name, question=question, vector=pack(vector))


def nothing(shard: int) -> Iterable[Asked]:
    raise AssertionError(f"shard {shard} is in the database")


def near(folder: Path, cosine: float = 0.97) -> NearQuestions:
    return NearQuestions(folder / "near.sqlite3", cosine=cosine)


def test_the_first_is_kept(tmp_path: Path) -> None:
    """Of questions that lie close, in one shard or in several, the first stays and the others name it."""
    questions = near(tmp_path)
    assert questions.decide(0, [asked("a", 1, 0), asked("b", 1, 0.01), asked("c", 0, 1)], nothing).keys() == {"b"}
    found = questions.decide(1, [asked("d", 0.01, 2), asked("e", 1, 1), asked("f", 5, 5)], nothing)
    assert {id_: other.id for id_, other in found.items()} == {"d": "c", "f": "e"}
    assert found["d"].cosine == pytest.approx(math.cos(0.005), abs=1e-5)


def test_other_numbers_are_another_question(tmp_path: Path) -> None:
    """Questions that differ in a number are both kept, however alike their embeddings are."""
    texts = {"a": "How good is the 7B model?", "b": "How good is the 13B model?", "c": "How good is a 7b model?"}
    found = near(tmp_path).decide(0, [asked(name, 1, 0, question=text) for name, text in texts.items()], nothing)
    assert {id_: other.id for id_, other in found.items()} == {"c": "a"}


def test_what_is_just_near_enough_is_found(tmp_path: Path) -> None:
    """At least 99 of 100 pairs at the threshold meet; of pairs just below it none is refused."""
    random, dimension, cosine = np.random.default_rng(7), 96, 0.95
    questions, pairs = near(tmp_path, cosine), 300

    def turned(vector: np.ndarray, to: float) -> np.ndarray:
        other = random.standard_normal(dimension)
        other -= other @ vector * vector
        return to * vector + math.sqrt(1 - to * to) * other / np.linalg.norm(other)

    firsts = [vector / np.linalg.norm(vector) for vector in random.standard_normal((pairs, dimension))]
    first = [asked(f"first {n}", *vector) for n, vector in enumerate(firsts)]
    assert not questions.decide(0, first, nothing)
    found = questions.decide(1, [asked(f"near {n}", *turned(v, 0.951)) for n, v in enumerate(firsts)], nothing)
    assert len(found) >= 0.98 * pairs
    assert all(other.id == f"first {id_.removeprefix('near ')}" for id_, other in found.items())
    assert not questions.decide(2, [asked(f"far {n}", *turned(v, 0.93)) for n, v in enumerate(firsts[:50])], nothing)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), redone=st.integers(0, 3))
def test_a_shard_decided_again_decides_alike(tmp_path_factory: pytest.TempPathFactory, seed: int, redone: int) -> None:
    """Whether a shard is decided once, again after later ones, or from the rows after a loss: the decisions are the same."""
    folder, random = tmp_path_factory.mktemp("near"), Random(seed)
    shards = [
        [asked(f"{shard}-{place}", *(random.choice((0, 1, 5)) for _ in range(3))) for place in range(4)]
        for shard in range(4)
    ]
    questions = near(folder)
    decided = [questions.decide(number, shard, nothing) for number, shard in enumerate(shards)]

    def kept(number: int) -> list[Asked]:
        return [question for question in shards[number] if question.id not in decided[number]]

    assert questions.decide(redone, shards[redone], nothing) == decided[redone]
    (folder / "near.sqlite3").unlink()
    assert questions.decide(redone, shards[redone], kept) == decided[redone]


def test_a_damaged_database(tmp_path: Path) -> None:
    """A database that is none ends the run in one line that says what to do."""
    (tmp_path / "near.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(Fatal, match="delete it and run the same command again"):
        near(tmp_path).decide(0, [], nothing)
