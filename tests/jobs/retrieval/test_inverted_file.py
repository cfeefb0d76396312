"""The inverted file: what it finds, and that nothing but its vectors decides what that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.retrieval import inverted_file
from jobs.retrieval.inverted_file import InvertedFile, unit


def vectors(count: int, dimension: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around a few dozen topics."""
    random = np.random.default_rng(seed)
    topics = random.standard_normal((max(1, count // 40), dimension))
    return unit(topics[np.arange(count) % len(topics)] + 0.5 * random.standard_normal((count, dimension))).astype("<f4")


def built(folder: Path, given: NDArray[np.float32], marks: Any = 0) -> InvertedFile:
    return InvertedFile.build(folder, given, np.broadcast_to(np.asarray(marks, dtype="u1"), len(given)))


def rows(found: list[Any]) -> list[int]:
    return [each.row for each in found]


def nearest(given: NDArray[np.float32], at: NDArray[Any], top_k: int) -> list[int]:
    cosines = np.round(given.astype(np.float64) @ unit(at[np.newaxis])[0], 6)
    return np.lexsort((np.arange(len(given)), -cosines))[:top_k].tolist()


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_all_of_a_few_are_compared(tmp_path: Path, count: int) -> None:
    """Where the cells that are probed hold all vectors, the answer is that of comparing each."""
    given = vectors(count)
    file = built(tmp_path / "file", given)
    for at in np.random.default_rng(1).standard_normal((20, 24)):
        assert rows(file.search([at], top_k=5)[0]) == nearest(given, at, 5)
    [[found]] = file.search([given[0] * 7], top_k=1)
    assert (found.row, found.cosine) == (0, 1.0)


@pytest.mark.slow
def test_most_of_the_nearest_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a two-hundredth of the vectors compared, most of the nearest are among them."""
    monkeypatch.setattr(inverted_file, "PROBED", 2)
    monkeypatch.setattr(inverted_file, "COMPARED", 60)
    given = vectors(10_000)
    file = built(tmp_path / "file", given)
    asked = given[::100] + 0.05 * np.random.default_rng(1).standard_normal((100, 24))
    found = file.search(asked.tolist(), top_k=10)
    hits = sum(len({*rows(each)} & {*nearest(given, at, 10)}) for each, at in zip(found, asked, strict=True))
    assert 0.9 <= hits / 1000 < 1


@pytest.mark.slow
def test_two_files_are_the_same(tmp_path: Path) -> None:
    """The same vectors make the same bytes, mapped from a file or not, and blocks do not show."""
    given = vectors(3_000)
    given.tofile(tmp_path / "raw")
    built(tmp_path / "one", given, np.arange(3_000) % 3)
    built(tmp_path / "two", np.memmap(tmp_path / "raw", dtype="<f4").reshape(-1, 24), np.arange(3_000) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted_file, "BLOCK", 700)
        built(tmp_path / "three", given, np.arange(3_000) % 3)
    one, two, three = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two", "three")
    )
    assert one == two == three
    assert not (tmp_path / "one" / "parts").exists()


def test_alone_or_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search finds the same, with the same cosines, whatever else is searched for in its pass."""
    monkeypatch.setattr(inverted_file, "COMPARED", 200)
    file = built(tmp_path / "file", vectors(5_000))
    asked = np.random.default_rng(1).standard_normal((64, 24)).tolist()
    together = file.search(asked, top_k=7)
    assert [file.search([at], top_k=7)[0] for at in asked] == together
    assert file.search(asked[::-1], top_k=7) == together[::-1]


def test_equal_vectors(tmp_path: Path) -> None:
    """Of equal ones the first are found, however many there are and whatever cell they are in."""
    given = np.concatenate([vectors(1_000), np.repeat(vectors(1, seed=5), 300, axis=0)])
    file = built(tmp_path / "file", given)
    assert rows(file.search([given[-1]], top_k=9)[0]) == [*range(1_000, 1_009)]


def test_one_mark_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors with that mark are never found; where too few others are near, all are compared."""
    monkeypatch.setattr(inverted_file, "COMPARED", 50)
    given, marks = vectors(2_000), np.ones(2_000, dtype="u1")
    marks[[3, 900, 1_999]] = 0
    file = built(tmp_path / "file", given, marks)
    at = given[0]
    few = [3, 900, 1_999]
    expected = [few[place] for place in nearest(given[few], at, 3)]
    assert rows(file.search([at], top_k=5, without=1)[0]) == expected
    assert rows(file.search([at], top_k=1, without=0)[0]) == [0]


def test_a_vector_without_a_direction(tmp_path: Path) -> None:
    """Zeros, stored or searched for, have the cosine 0 with everything."""
    given = vectors(50)
    given[7] = 0
    file = built(tmp_path / "file", given)
    found = file.search([[0.0] * 24, (1e-200 * given[3].astype(float)).tolist()], top_k=50)
    assert {each.cosine for each in found[0]} == {0.0}
    assert found[1][0].row == 3, "a tiny one has a direction"
