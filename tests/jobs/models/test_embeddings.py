from __future__ import annotations

import base64
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.testing import embedding_reply
from jobs.models.embeddings import cosine, embedding, pack, unpack, vectors

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)
MODEST = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3)


def test_a_request() -> None:
    """Texts go to the embedding role in their order, with their length."""
    request = embedding(("one", "three"))
    assert (request.to, request.characters, request.max_output_tokens) == ("embedding", 8, 0)
    assert request.texts == ["one", "three"]


def test_vectors() -> None:
    """A reply's vectors stand in the order of the texts."""
    assert vectors(embedding_reply([[1.0], [2.0]])) == [[1.0], [2.0]]


def test_the_packed_form() -> None:
    """A packed vector is base64 of little-endian float32: whoever reads the row needs no more than that."""
    assert base64.b64decode(pack([1.0, -2.5])) == struct.pack("<2f", 1.0, -2.5)


@given(FLOATS)
def test_packing_loses_nothing(values: list[float]) -> None:
    """What float32 can hold comes back as it was."""
    assert unpack(pack(values)).tolist() == values


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 0], [3, 0], 1.0),
        ([1, 0], [0, 2], 0.0),
        ([1, 0], [-4, 0], -1.0),
        ([1, 1], [1, 0], math.sqrt(0.5)),
        ([0, 0], [1, 0], 0.0),
        ([0, 0], [0, 0], 0.0),
        ([1, 0], [1e-161, 0], 1.0),
        ([5e-324, 0], [1e300, 1e300], math.sqrt(0.5)),
    ],
)
def test_cosines(a: list[float], b: list[float], expected: float) -> None:
    """The cosine is that of the angle; a vector of zeros has none, and gives 0."""
    assert cosine(a, b) == pytest.approx(expected)


@given(MODEST, MODEST, st.floats(1e-3, 1e3))
def test_cosine_of_any(a: list[float], b: list[float], scale: float) -> None:
    """The cosine is symmetric and stays within its bounds; lengths do not matter."""
    assert cosine(a, b) == pytest.approx(cosine(b, a))
    assert abs(cosine(a, b)) <= 1
    if max(map(abs, a)) > 1e-300:
        assert cosine([scale * x for x in a], b) == pytest.approx(cosine(a, b), abs=1e-6)
