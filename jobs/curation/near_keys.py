"""What near-duplicate questions are compared by: their numbers, unit vectors, and keys of locality-sensitive hashing.

The signs of a vector along some fixed directions are one key, and two near vectors share at least one of `KEYS` such
keys (Charikar 2002). The number of signs in a key is the largest with which 99 % of the pairs at the threshold share a
key; nearer pairs share one more often, equal ones always.

All of it is the same for a question whatever stands beside it: sums are made in float64.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b, shake_256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.models.embeddings import unpack

__all__ = ["KEYS", "cosines", "hashes", "units"]

KEYS = 32
FOUND = 0.99  # of the pairs whose cosine is just at the threshold
MOST_SIGNS = 32
BLOCK = 4_096
ROUGH = 1e-4  # more than float32 can be wrong by
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def units(packed: Sequence[str]) -> NDArray[np.float32]:
    """The vectors that `jobs.models.embeddings.pack` packed, at length 1 or all zeros; shape (vectors, dimension)."""
    if not packed:
        return np.empty((0, 1), dtype="<f4")
    vectors = np.stack([unpack(each) for each in packed]).astype(np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype="<f4")


def hashes(vectors: NDArray[np.float32], questions: Sequence[str], cosine: float) -> NDArray[np.uint64]:
    """For each question `KEYS` hashes, each of one key and of the numbers in its words; shape (`KEYS`, questions).

    Two questions share a hash exactly if they share that key and their numbers are equal (2⁻⁶⁴ apart).
    """
    signs = _signs(cosine)
    directions = _directions(KEYS * signs, vectors.shape[1])
    weights = 1 << np.arange(signs, dtype=np.uint64)
    found = np.empty((KEYS, len(vectors)), dtype=np.uint64)
    for start in range(0, len(vectors), BLOCK):
        positive = vectors[start : start + BLOCK].astype(np.float64) @ directions.T > 0
        keys = positive.reshape(-1, KEYS, signs).astype(np.uint64) @ weights
        found[:, start : start + BLOCK] = keys.T
    found += np.arange(KEYS, dtype=np.uint64)[:, np.newaxis] << np.uint64(MOST_SIGNS)
    return _mixed(_mixed(found) ^ np.array([_numbers(each) for each in questions], dtype=np.uint64))


def cosines(
    some: NDArray[np.float32], others: NDArray[np.float32], least: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which rows of `some` and `others`, unit vectors, have a cosine of `least` or more; and those, to 6 places."""
    near = np.flatnonzero(np.einsum("ij,ij->i", some, others) >= least - ROUGH)
    exact = np.round((some[near].astype(np.float64) * others[near]).sum(axis=1), 6)
    return near[exact >= least], exact[exact >= least]


def _numbers(question: str) -> int:
    """The numbers of a question, which embeddings hardly show: "the 7B model" and "the 13B model" differ."""
    found = " ".join(sorted(re.findall(r"\w*\d+(?:[.,]\d+)*\w*", question.casefold())))
    return int.from_bytes(blake2b(found.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each value as another that looks drawn at random (splitmix64)."""
    mixed: NDArray[np.uint64] = values + np.uint64(_ODD[0])
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_ODD[1])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_ODD[2])
    return mixed ^ (mixed >> np.uint64(31))


def _signs(cosine: float) -> int:
    """The signs of one key: two vectors at this angle agree in one sign with the probability 1 - angle / π."""
    agree = 1 - math.acos(min(1.0, cosine)) / math.pi
    one_key = 1 - (1 - FOUND) ** (1 / KEYS)
    return min(MOST_SIGNS, int(math.log(one_key) / math.log(agree))) if agree < 1 else MOST_SIGNS


@cache
def _directions(count: int, dimension: int) -> NDArray[Any]:
    """`count` directions of parts 1 and -1, from a hash, so that every machine takes the same."""
    bits = np.frombuffer(shake_256(b"near questions").digest(-(-count * dimension // 8)), dtype=np.uint8)
    return np.unpackbits(bits)[: count * dimension].reshape(count, dimension).astype(np.float64) * 2 - 1
