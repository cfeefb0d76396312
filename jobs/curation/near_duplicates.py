"""Near-duplicate questions over a whole run: of two that ask the same, the first in the order of the shards is kept.

A shard is decided as a whole, after every shard before it, so a decision depends on the rows and never on timing. The
kept questions are in a database on disk, so memory does not grow with the run. They are found by locality-sensitive
hashing (Charikar 2002): the signs of a vector along some fixed directions are one key, and two near vectors share at
least one of 32 such keys. The number of signs in a key is the largest with which 99 % of the pairs at the threshold
share a key; nearer pairs share one more often, equal ones always. Questions that share a key are compared exactly, so
none is refused by chance.

The database holds nothing that was paid for: a shard that it lacks is added again from the rows.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.models.embeddings import unpack
from jobs.run.sqlite_errors import naming_the_database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Asked", "Near", "NearQuestions"]

KEYS = 32
FOUND = 0.99  # of the pairs whose cosine is just at the threshold
MOST_SIGNS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: the id of its pair, its words, and its vector as `jobs.models.embeddings.pack` packs it."""

    id: str
    question: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The pair with the earlier question, and the cosine between the two."""

    id: str
    cosine: float


class NearQuestions:
    """The questions that are kept so far, in the database `path`; at `cosine` or more, two are near-duplicates."""

    def __init__(self, path: Path, *, cosine: float) -> None:
        self._path = path
        self._cosine = cosine

    def decide(self, shard: int, asked: Sequence[Asked], kept: Callable[[int], Iterable[Asked]]) -> Mapping[str, Near]:
        """Which of `asked`, the questions of this shard in order, are near-duplicates; blocks.

        The others are kept, and replace what the database has for this shard. Shards are decided in order; `kept`
        returns the questions that an earlier shard kept, and is called only if the database lacks that shard.
        """
        with (
            naming_the_database(self._path, made_from="the rows"),
            closing(sqlite3.connect(self._path, isolation_level=None)) as database,
        ):
            database.executescript(_TABLES)
            database.execute("begin immediate")
            for number in _lacking(database, shard):
                self._enter_all(database, number, kept(number))
            found = self._decide(database, shard, asked)
            database.execute("commit")
            return found

    def _decide(self, database: sqlite3.Connection, shard: int, asked: Sequence[Asked]) -> dict[str, Near]:
        _forget(database, shard)
        found = {}
        for question in asked:
            unit = _unit(question.vector)
            keys = _keys(unit, _signs(self._cosine))
            near = self._nearest(database, shard, question, unit, keys)
            if near is not None:
                found[question.id] = near
            else:
                _enter(database, shard, question, unit, keys)
        return found

    def _enter_all(self, database: sqlite3.Connection, shard: int, kept: Iterable[Asked]) -> None:
        _forget(database, shard)
        for question in kept:
            unit = _unit(question.vector)
            _enter(database, shard, question, unit, _keys(unit, _signs(self._cosine)))

    def _nearest(
        self,
        database: sqlite3.Connection,
        shard: int,
        question: Asked,
        unit: NDArray[np.float32],
        keys: Sequence[int],
    ) -> Near | None:
        """The nearest kept question with the same numbers; the first of equally near ones."""
        import numpy as np

        select = "select place from keys where number = ? and key = ?"
        places = {place for pair in enumerate(keys) for (place,) in database.execute(select, pair)}
        select = "select id, vector from questions where place = ? and shard <= ? and numbers = ?"
        numbers = _numbers(question.question)
        found = [row for place in sorted(places) for row in database.execute(select, (place, shard, numbers))]
        if not found:
            return None
        vectors = np.frombuffer(b"".join(vector for _, vector in found), dtype="<f4").reshape(len(found), -1)
        cosines = np.round(vectors @ unit, 6)
        best = int(np.argmax(cosines))
        return Near(id=found[best][0], cosine=float(cosines[best])) if cosines[best] >= self._cosine else None


_TABLES = """
create table if not exists shards (shard integer primary key);
create table if not exists questions (
    place integer primary key autoincrement, shard integer not null, id text not null, numbers text not null,
    vector blob not null
);
create index if not exists questions_by_shard on questions (shard);
create table if not exists keys (number integer, key integer, place integer, primary key (number, key, place))
    without rowid;
"""


def _lacking(database: sqlite3.Connection, shard: int) -> list[int]:
    entered = {number for (number,) in database.execute("select shard from shards where shard < ?", (shard,))}
    return [number for number in range(shard) if number not in entered]


def _forget(database: sqlite3.Connection, shard: int) -> None:
    """Delete a shard's questions. Their keys stay, but places are never used twice, so such keys find nothing."""
    database.execute("delete from questions where shard = ?", (shard,))
    database.execute("insert or ignore into shards values (?)", (shard,))


def _enter(
    database: sqlite3.Connection, shard: int, question: Asked, unit: NDArray[np.float32], keys: Sequence[int]
) -> None:
    row = (shard, question.id, _numbers(question.question), unit.tobytes())
    cursor = database.execute("insert into questions (shard, id, numbers, vector) values (?, ?, ?, ?)", row)
    database.executemany(
        "insert into keys values (?, ?, ?)", [(number, key, cursor.lastrowid) for number, key in enumerate(keys)]
    )


def _numbers(question: str) -> str:
    """The numbers of a question, which embeddings hardly show: "the 7B model" and "the 13B model" differ."""
    return " ".join(sorted(re.findall(r"\w*\d+(?:[.,]\d+)*\w*", question.casefold())))


def _unit(packed: str) -> NDArray[np.float32]:
    import numpy as np

    vector = unpack(packed).astype(np.float64)
    length = float(np.linalg.norm(vector))
    unit: NDArray[np.float32] = (vector / length if length else vector).astype("<f4")
    return unit


def _signs(cosine: float) -> int:
    """The signs of one key: two vectors at this angle agree in one sign with the probability 1 - angle / π."""
    agree = 1 - math.acos(min(1.0, cosine)) / math.pi
    one_key = 1 - (1 - FOUND) ** (1 / KEYS)
    return min(MOST_SIGNS, int(math.log(one_key) / math.log(agree))) if agree < 1 else MOST_SIGNS


def _keys(unit: NDArray[np.float32], signs: int) -> list[int]:
    import numpy as np

    positive = (_directions(KEYS * signs, len(unit)) @ unit > 0).reshape(KEYS, signs)
    keys: list[int] = (positive @ (1 << np.arange(signs, dtype=np.int64))).tolist()
    return keys


@cache
def _directions(count: int, dimension: int) -> NDArray[Any]:
    """`count` directions of parts 1 and -1, from a hash, so that every machine takes the same."""
    import numpy as np

    bits = np.frombuffer(shake_256(b"near questions").digest(-(-count * dimension // 8)), dtype=np.uint8)
    return np.unpackbits(bits)[: count * dimension].reshape(count, dimension).astype(np.float32) * 2 - 1
