"""How many questions each chunk gets: a first grant, and one for each time that the settings were raised.

The grants of a run with a cap, and of one that was raised, are in ``quota.json`` beside its questions. They are written
before anything is asked of them, and what they gave to a chunk that was asked does not change. So what was asked stays,
a resume asks for the same, and a raise asks for the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.datasets import Dataset
from engine.errors import Fatal
from engine.files import make_folder, naming_the_disk, write_atomic
from engine.pending import finished
from jobs.records import Question

__all__ = ["Grant", "Shares", "Spread", "asked_ids", "item_id", "read_shares", "unusable", "write_shares"]


class Grant(msgspec.Struct, kw_only=True):
    """Settings, and what they give: for each shard the number of questions of each chunk, by its id.

    The last grant gives nothing by the list if it has no cap: then every chunk gets what it lacks.
    """

    questions_per_chunk: int
    max_questions: int | None
    shares: list[msgspec.Raw] = []

    def share(self, shard: int) -> dict[str, int]:
        """What the list says of a shard; nothing for one that is not in it."""
        return msgspec.json.decode(self.shares[shard], type=dict[str, int]) if shard < len(self.shares) else {}

    def give(self, shard: int, share: Mapping[str, int]) -> None:
        """Set what a shard gets, in or behind the list."""
        self.shares += [msgspec.Raw(b"{}")] * (shard + 1 - len(self.shares))
        given = {id_: share[id_] for id_ in sorted(share) if share[id_]}
        self.shares[shard] = msgspec.Raw(msgspec.json.encode(given))


class Shares(msgspec.Struct, kw_only=True):
    """The grants of a run; ``chunks`` counts the chunks of each shard that the last capped grant was spread over."""

    grants: list[Grant]
    chunks: list[int] = []

    @property
    def last(self) -> Grant:
        return self.grants[-1]

    def given(self, shard: int, *, before: int | None = None) -> Counter[str]:
        """The questions of each chunk of a shard that the lists of all grants give it, or of those `before` one."""
        found: Counter[str] = Counter()
        for grant in self.grants[:before]:
            found.update(grant.share(shard))
        return found


class Spread:
    """Spreads `more` questions evenly over chunks, those with the fewest first; none gets more than `most`.

    ``standing[n]`` is the number of chunks that have `n` questions. Of the N chunks among which there is no question for
    each, number j gets one where (j+1)·more/N and j·more/N have different whole parts.
    """

    def __init__(self, standing: Mapping[int, int], more: int, *, most: int) -> None:
        self._level, self._more, self._most = 0, max(0, more), most
        self._among = standing.get(0, 0)
        self._seen = 0
        while self._level < most and self._more >= self._among:
            self._more -= self._among
            self._level += 1
            self._among += standing.get(self._level, 0)

    def __call__(self, has: int) -> int:
        """How many more the next chunk gets, which `has` some; to be called once for each chunk, in order."""
        if has > self._level or has >= self._most:
            return 0
        given = self._level - has
        if self._level < self._most:
            number, self._seen = self._seen, self._seen + 1
            given += (number + 1) * self._more // self._among - number * self._more // self._among
        return given


def item_id(chunk_id: str, grant: int) -> str:
    """The id of the input that asks about a chunk in a grant."""
    return f"{chunk_id}.{grant}" if grant else chunk_id


def asked_ids(questions: Dataset[Question], shard: int) -> Counter[str]:
    """The inputs of a shard that have been asked, whatever came of it, each with the number of its rows; blocks."""
    return finished(questions, shard, lambda row: item_id(row.chunk_id, row.raised))


def read_shares(path: Path) -> Shares | None:
    """The grants in the file at `path`, None where there is none; raises `Fatal` for a damaged file; blocks."""
    with naming_the_disk(path):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Shares)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unusable(path, f"is damaged ({error})") from error


def unusable(path: Path, fault: str) -> Fatal:
    """The error for a file of shares that is lost or damaged."""
    return Fatal(
        f"{path} {fault}, so it is not known how many questions each chunk was given; restore it from a copy, or repeat "
        "its job with --redo ask"
    )


def write_shares(path: Path, shares: Shares) -> None:
    """Write the file whole or not at all; blocks. Raises `Fatal` when the disk fails."""
    with naming_the_disk(path):
        make_folder(path.parent)
        write_atomic(path, msgspec.json.encode(shares) + b"\n")
