"""Where each chunk stands: contexts name chunks of any shard by their ids alone."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np
from numpy.typing import NDArray

from jobs.records import Chunk
from jobs.serve.committed import Committed
from jobs.serve.survey import Looked, Survey

__all__ = ["ChunkPlaces"]


class ChunkPlaces:
    """The chunks of a run by id, with 8 bytes kept for each. All methods block, and are safe in threads."""

    def __init__(self, chunks: Committed) -> None:
        self._chunks = chunks
        self._survey = Survey(self._read, chunks.stamps)

    def find(self, ids: Collection[str], near: int, seconds: float) -> tuple[dict[str, Chunk], Looked]:
        """The chunks with these ids, shard `near` first, and how many shards were looked at: as many as are needed."""
        found = self._of(ids, near) if near in self._chunks.sums() else {}
        looked = Looked(1, 1)
        if len(found) < len(set(ids)):
            looked = self._survey.further(seconds)
            wanted = np.array([hash(id_) for id_ in ids if id_ not in found], np.int64)
            for index, hashes in self._survey.found().items():
                if np.isin(wanted, hashes).any():
                    found |= self._of(ids, index)
        return found, Looked(1, 1) if len(found) == len(set(ids)) else looked

    def _of(self, ids: Collection[str], index: int) -> dict[str, Chunk]:
        return {chunk.id: chunk for chunk in self._chunks.rows(index, Chunk) if chunk.id in ids}

    def _read(self, index: int) -> NDArray[np.int64]:
        return np.array([hash(chunk.id) for chunk in self._chunks.rows(index, _Id)], np.int64)


class _Id(msgspec.Struct, gc=False):
    id: str
