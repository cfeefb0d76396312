"""Near-duplicate questions: which are found, and what a decision may depend on."""

from __future__ import annotations

import itertools
import math
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import Fatal
from jobs.curation import near_blocks, near_duplicates, near_keys
from jobs.curation.near_duplicates import Asked, Near, NearQuestions
from jobs.models.embeddings import pack, unpack


def asked(name: str, *vector: float, question: str = "What is ground?") -> Asked:
    return Asked(id=name, question=question, vector=pack(vector))


def nothing(shard: int) -> Iterable[Asked]:
    raise AssertionError(f"shard {shard} is in the folder")


def near(folder: Path, cosine: float = 0.97) -> NearQuestions:
    return NearQuestions(folder / "near", cosine=cosine)


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


@pytest.mark.slow
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
    shutil.rmtree(folder / "near")
    questions = near(folder)
    assert questions.decide(redone, shards[redone], kept) == decided[redone]


def in_turn(shards: Sequence[Sequence[Asked]], cosine: float) -> list[dict[str, Near]]:
    """The decisions of one question after another, each compared with every kept one that shares a key."""
    signs = near_keys._signs(cosine)
    kept: list[tuple[Asked, Any, Any]] = []
    decided: list[dict[str, Near]] = []
    for shard in shards:
        decided.append({})
        for question in shard:
            vector = unpack(question.vector).astype(np.float64)
            unit = (vector / (np.linalg.norm(vector) or 1.0)).astype(np.float32).astype(np.float64)
            keys = (near_keys._directions(near_keys.KEYS * signs, len(unit)) @ unit > 0).reshape(near_keys.KEYS, signs)
            best = Near(id="", cosine=-2.0)
            for other, its_unit, its_keys in kept:
                numbers = [
                    sorted(re.findall(r"\w*\d+(?:[.,]\d+)*\w*", each.question.lower())) for each in (question, other)
                ]
                found = round(float(its_unit @ unit), 6)
                if (keys == its_keys).all(axis=1).any() and numbers[0] == numbers[1] and found > best.cosine:
                    best = Near(id=other.id, cosine=found)
            if best.cosine >= cosine:
                decided[-1][question.id] = best
            else:
                kept.append((question, unit, keys))
    return decided


def drawn(random: Random, questions: int, topics: int) -> list[Asked]:
    """Questions around a few topics, some equal, some with numbers, in vectors of small whole numbers."""
    centres = [[random.randrange(-9, 10) for _ in range(8)] for _ in range(topics)]
    made = []
    for number in range(questions):
        vector = [part * 10 + random.choice((0, 0, 0, 1, -4, 9)) for part in random.choice(centres)]
        words = random.choice(("What is it?", "What is it?", "What of 7B?", "And 7b, or 13,000?"))
        made.append(asked(f"q{number}", *(vector if any(vector) else [1] * 8), question=words))
    return made


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cosine=st.sampled_from((0.8, 0.9, 0.97, 0.999, 1.0)),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    pairs=st.sampled_from((1, 40, 10**6)),
    gathered_from=st.sampled_from((0, 20, 10**6)),
    killed=st.sets(st.integers(0, 6), max_size=3),
)
def test_blocks_decide_as_one_after_another(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    cosine: float,
    cuts: list[int],
    pairs: int,
    gathered_from: int,
    killed: set[int],
) -> None:
    """However questions are cut into shards and blocks, gathered ahead or not, and whenever the process begins again, the
    decisions are those of taking one question after another.
    """
    monkeypatch.setattr(near_blocks, "MOST_PAIRS", pairs)
    monkeypatch.setattr(near_blocks, "FEWEST", 3)
    monkeypatch.setattr(near_duplicates, "GATHERED_FROM", gathered_from)
    monkeypatch.setattr(near_duplicates, "BLOCK", 40)
    questions = drawn(Random(seed), 60, topics=5)
    ends = [0, *sorted(cuts), 60]
    shards = [questions[start:end] for start, end in itertools.pairwise(ends)]
    folder = tmp_path_factory.mktemp("near")
    store, decided = near(folder, cosine), []
    for number, shard in enumerate(shards):
        if number in killed:
            store = near(folder, cosine)

        def ready(other: int) -> Sequence[Asked] | None:
            return shards[other] if other < len(shards) else None

        decided.append(store.decide(number, shard, nothing, ready))
    assert decided == in_turn(shards, cosine)


def test_shards_that_are_ready_are_decided_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large run what is ready makes one block, and each shard gets its own decisions; other rows than those that were
    ready are decided for themselves.
    """
    monkeypatch.setattr(near_duplicates, "GATHERED_FROM", 1)
    shards = [[asked("a", 1, 0)], [asked("b", 0, 1)], [], [asked("c", 1, 0.01), asked("d", 1, 1)], [asked("e", 1, 1)]]
    looked: list[int] = []

    def ready(number: int) -> list[Asked] | None:
        looked.append(number)
        return shards[number] if number < 4 else None

    store = near(tmp_path)
    assert store.decide(0, shards[0], nothing, ready) == {}
    assert looked == [], "a small run takes one shard after another"
    assert store.decide(1, shards[1], nothing, ready) == {}
    assert looked == [2, 3, 4]
    assert store.decide(2, shards[2], nothing, ready) == {}
    assert store.decide(3, shards[3], nothing, ready).keys() == {"c"}
    assert looked == [2, 3, 4]
    assert store.decide(4, shards[4], nothing, ready).keys() == {"e"}
    assert store.decide(1, shards[1], nothing, ready) == {}
    assert store.decide(2, [asked("f", 0.01, 1)], nothing, ready).keys() == {"f"}
    later = [asked("c", 2, 1.01)]
    assert store.decide(3, [asked("c", 2, 1)], nothing, lambda number: later if number == 4 else None) == {}
    assert store.decide(4, later, nothing).keys() == {"c"}, "an id that stands in two shards"


def test_a_damaged_folder(tmp_path: Path) -> None:
    """Whatever is missing or cut off in the folder, it is made again from the rows, and decides the same."""
    first, second = [asked("a", 1, 0), asked("b", 1, 1)], [asked("c", 1, 0.01), asked("d", 0, 1)]
    near(tmp_path).decide(0, first, nothing)
    for path in sorted((tmp_path / "near").iterdir()):
        near(tmp_path).decide(0, first, nothing)
        path.write_bytes(path.read_bytes()[:-1])
        assert near(tmp_path).decide(1, second, lambda _: first).keys() == {"c"}, path
    (tmp_path / "near" / "state.json").write_bytes(b"no state at all")
    assert near(tmp_path).decide(1, second, lambda _: first).keys() == {"c"}


def test_a_full_disk(tmp_path: Path) -> None:
    """A disk without room ends the run in one line that says so; with room again it goes on."""
    questions = near(tmp_path)
    questions.decide(0, [asked("a", 1, 0)], nothing)
    kept = (tmp_path / "near" / "vectors.f32").read_bytes()
    (tmp_path / "near" / "vectors.f32").unlink()
    (tmp_path / "near" / "vectors.f32").symlink_to("/dev/full")
    with pytest.raises(Fatal, match="the disk is full; free some space and run the same command again"):
        questions.decide(1, [asked("b", 0, 1)], nothing)
    (tmp_path / "near" / "vectors.f32").unlink()
    (tmp_path / "near" / "vectors.f32").write_bytes(kept)
    assert near(tmp_path).decide(1, [asked("b", 1, 0.01)], nothing).keys() == {"b"}


def test_what_a_kill_left(tmp_path: Path) -> None:
    """Files, and ends of files, that the state does not name count for nothing."""
    first, second = [asked("a", 1, 0), asked("b", 1, 1)], [asked("c", 1, 0.01), asked("d", 0, 1)]
    near(tmp_path).decide(0, first, nothing)
    folder = tmp_path / "near"
    (folder / "segment-9-12.u64").write_bytes(b"cut off")
    for name in ("vectors.f32", "ids", "id_ends.u64"):
        with (folder / name).open("ab") as file:
            file.write(b"torn")
    assert near(tmp_path).decide(1, second, nothing).keys() == {"c"}
    assert near(tmp_path).decide(2, [asked("e", 0.01, 1)], nothing)["e"].id == "d"
    assert not (folder / "segment-9-12.u64").exists()
    assert near(tmp_path, 0.9).decide(1, second, lambda _: first).keys() == {"c"}, "another cosine begins anew"
