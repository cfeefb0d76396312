"""Vectors as servers send them: what is plain is read, and nothing else."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.models.openai.vectors import BadVectors, Lengths, read_vectors

ONE, TWO = [1.0, 2.0], [3.0, -4.5]


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"index": 0, "embedding": ONE}, {"index": 1, "embedding": TWO}]},
        {"data": [{"index": 1, "embedding": TWO}, {"index": 0, "embedding": ONE}]},
        {"data": [{"index": "1", "embedding": TWO}, {"index": "0", "embedding": ONE}]},
        {"data": [{"index": 1.0, "embedding": TWO}, {"index": 0.0, "embedding": ONE}]},
        {"data": [{"index": None, "embedding": ONE}, {"index": None, "embedding": TWO}]},
        {"data": [{"index": 0, "embedding": ONE}, {"index": 0, "embedding": TWO}]},
        {"data": [{"embedding": ONE}, {"index": 1, "embedding": TWO}]},
        {"data": [{"index": True, "embedding": ONE}, {"index": "x", "embedding": TWO}]},
        {"data": [{"embedding": [ONE]}, {"embedding": [[TWO]]}]},
        {"data": [{"embedding": packed(ONE)}, {"embedding": packed(TWO)}]},
        {"data": [{"embedding": {"float": ONE}}, {"embedding": {"values": TWO}}]},
        {"data": [{"embedding": {"base64": packed(ONE)}}, {"embedding": TWO}]},
        {"data": [ONE, TWO]},
        {"embeddings": [ONE, TWO]},
        {"embeddings": {"float": [ONE, TWO]}},
        [{"embedding": ONE}, {"embedding": TWO}],
        [ONE, TWO],
    ],
    ids=repr,
)
def test_forms_of_two_vectors(body: Any) -> None:
    """Every plain form gives the same two vectors, in the order of the texts."""
    assert read_vectors(body, 2) == [ONE, TWO]


def test_one_vector_alone() -> None:
    """The vector of one text may come without a list around it."""
    assert read_vectors({"embedding": ONE}, 1) == [ONE]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "",
        "the model is loading",
        "AAA=",
        "AAAAAA==",
        7,
        True,
        {},
        {"odd": ONE},
        [None, 1.0],
        ["1.0", "2.0"],
        [True, False],
        [0.0, 0.0],
        [0, 0],
        [1e300, 1.0],
        [10**400, 1.0],
        [ONE, TWO],
        packed([float("nan"), 1.0]),
        packed([float("inf"), 1.0]),
        packed([0.0, 0.0]),
    ],
    ids=repr,
)
def test_what_is_no_vector(value: Any) -> None:
    """Null, text, other shapes, numbers that are not finite and zeros alone are refused, and say that it is a vector."""
    with pytest.raises(BadVectors, match="vector"):
        read_vectors({"data": [{"embedding": value}]}, 1)


@pytest.mark.parametrize("body", [None, 7, "text", {}, {"data": None}, {"data": {}}, {"data": []}, [ONE, TWO, ONE]])
def test_not_one_for_each_text(body: Any) -> None:
    """Another number of vectors than of texts is refused."""
    with pytest.raises(BadVectors):
        read_vectors(body, 2)


@given(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20).filter(any))
def test_base64_is_the_same_vector(vector: list[float]) -> None:
    """What is packed as 32-bit floats comes back as it was."""
    assert read_vectors({"data": [{"embedding": packed(vector)}]}, 1) == [vector]


def test_one_odd_length_decides_nothing() -> None:
    """The length of most is that of the run, even where the first vector was the odd one."""
    lengths, refused = Lengths(), []
    for length in (7, 8, 8, 8, 7, 8):
        try:
            lengths.check(length)
        except BadVectors:
            refused.append(length)
    assert refused == [8, 7]
