"""What does a question cost to be compared with all that a run keeps, from a hundred thousand to a million; in what memory?

Questions with vectors of 384 dimensions, in shards of 3,200 (32 papers, 50 chunks, two questions): most lie near one of a
number of topics, one in twenty says nearly the same as an earlier one, and one in a hundred is a question that is asked of
every paper. Each number of them in a process of its own, one shard after another as in a small run, and as many shards at
a time as a large run gathers. Both must decide alike.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from growth import Watch, disk_bytes, growth_row, in_a_process, memory_row, size_asked_for, sizes_up_to
from tables import Row, options, show, show_rows, write

from jobs.curation import near_duplicates
from jobs.curation.near_duplicates import Asked, NearQuestions
from jobs.models.embeddings import pack

DIMENSIONS, SHARD, COSINE, A_TOPIC = 384, 3_200, 0.97, 400
TARGET_MB = 2_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    questions: int
    gathered: bool
    cpu_us: float
    anonymous_mb: float
    disk_bytes: float
    refused: int
    decisions: str


def main() -> None:
    if asked := size_asked_for():
        print(msgspec.json.encode(measured(asked[0], gathered=asked[1])).decode())
        return
    given = options(__doc__, largest=1_000_000, shard_by_shard_up_to=1_000_000)
    sizes = sizes_up_to(given.largest)

    def found(size: int, *, gathered: bool) -> Found:
        return msgspec.json.decode(in_a_process(__file__, size, flag=gathered), type=Found)

    gathered = [found(size, gathered=True) for size in sizes]
    one_by_one = [found(size, gathered=False) for size in sizes if size <= given.shard_by_shard_up_to]
    show(
        f"Questions of {DIMENSIONS} dimensions, near-duplicates at a cosine of {COSINE}",
        ["questions", "shards", "CPU µs", "memory, MB", "disk, bytes", "refused"],
        [
            [
                f"{each.questions:,}",
                "gathered" if each.gathered else "one by one",
                f"{each.cpu_us:.0f}",
                f"{each.anonymous_mb:.0f}",
                f"{each.disk_bytes:.0f}",
                each.refused,
            ]
            for each in [*gathered, *one_by_one]
        ],
    )
    rows = rows_of(gathered, one_by_one)
    show_rows("The largest against the smallest", rows)
    write(given.json, {"rows": rows, "found": [*gathered, *one_by_one]})


def rows_of(gathered: Sequence[Found], one_by_one: Sequence[Found]) -> list[Row]:
    few, many = gathered[0], gathered[-1]
    sizes = f"{many.questions:,} against {few.questions:,}"
    alike = [one.decisions == other.decisions for one, other in zip(gathered, one_by_one, strict=False)]
    return [
        growth_row(f"CPU µs a question, {sizes}", few.cpu_us, many.cpu_us),
        memory_row(f"memory, {sizes}, MB", few.anonymous_mb, many.anonymous_mb, most_mb=TARGET_MB),
        Row(
            measure="decisions of gathered shards and of one after another are the same, sizes tried",
            value=f"{sum(alike)} of {len(alike)}",
            target="all",
            met=all(alike),
        ),
    ]


def measured(count: int, *, gathered: bool) -> Found:
    near_duplicates.GATHERED_FROM = 1 if gathered else sys.maxsize
    source, shards = Source(count), -(-count // SHARD)
    decisions, refused, spent_s = "", 0, 0.0
    with tempfile.TemporaryDirectory() as folder, Watch() as watch:
        near = NearQuestions(Path(folder, "near"), cosine=COSINE)
        for number in range(shards):
            asked = source.shard(number)
            began, making = time.process_time(), source.spent_s
            found = near.decide(
                number, asked, lambda _: [], lambda other: source.shard(other) if other < shards else None
            )
            spent_s += time.process_time() - began - (source.spent_s - making)
            refused += len(found)
            decisions = near_digest(decisions, found)
        size = disk_bytes(Path(folder))
    return Found(
        questions=count,
        gathered=gathered,
        cpu_us=1e6 * spent_s / count,
        anonymous_mb=watch.peak_mb,
        disk_bytes=size / count,
        refused=refused,
        decisions=decisions,
    )


def near_digest(before: str, found: object) -> str:
    from engine.records import make_id

    return make_id(before, msgspec.json.encode(found).decode())


class Source:
    """The questions, shard by shard, and the CPU seconds that making them took."""

    def __init__(self, count: int) -> None:
        self.spent_s = 0.0
        self._count = count
        random = np.random.default_rng(0)
        self._topics = random.standard_normal((max(1, count // A_TOPIC), DIMENSIONS), dtype=np.float32)
        self._common = random.standard_normal(DIMENSIONS, dtype=np.float32)
        self._noise = 0.42 * random.standard_normal((8_192, DIMENSIONS), dtype=np.float32)

    def shard(self, number: int) -> list[Asked]:
        began = time.process_time()
        size = min(SHARD, self._count - number * SHARD)
        vectors = self._drawn(number)[:size]
        random = np.random.default_rng((2, number))
        again = np.flatnonzero(random.random(size) < 0.05)
        if number and len(again):  # a question of an earlier shard, in other words
            earlier = self._drawn(int(random.integers(0, number)))
            vectors[again] = earlier[again] + 0.2 * self._noise[random.integers(0, len(self._noise), len(again))]
        vectors[random.random(size) < 0.01] = self._common
        asked = [
            Asked(id=f"{number:06d}-{place:04d}", question="What does it do?", vector=pack(vector))
            for place, vector in enumerate(vectors)
        ]
        self.spent_s += time.process_time() - began
        return asked

    def _drawn(self, number: int) -> np.ndarray:
        random = np.random.default_rng((1, number))
        around = self._topics[random.integers(0, len(self._topics), SHARD)]
        one, other = random.integers(
            0, len(self._noise), (2, SHARD)
        )  # drawing all of it anew would take half of the time
        return around + self._noise[one] + self._noise[other]


if __name__ == "__main__":
    main()
