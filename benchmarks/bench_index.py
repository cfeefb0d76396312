"""What does a vector cost in the index, and a question, from a hundred thousand to a million; do two builds answer alike?

Vectors of 384 dimensions around a centre for each fifty, whose centres have nothing in common: harder than embeddings,
which have topics. Each number of them in a process of its own: CPU time to build the store, table and index, from chunks
with their vectors; CPU time of a search in passes of 256; memory that is not a mapped file; recall@10 against comparing
every vector; and whether a second store answers alike.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from growth import Watch, disk_bytes, growth_row, in_a_process, memory_row, size_asked_for, sizes_up_to
from numpy.typing import NDArray
from tables import Row, options, show, show_rows, write

DIMENSIONS, TOP_K, PASS, PASSES, BLOCK, A_CENTRE = 384, 10, 256, 4, 8_192, 50
TARGET_MB = 1_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    vectors: int
    build_us: float
    search_ms: float
    recall: float
    anonymous_mb: float
    disk_bytes: float
    differ: int


def main() -> None:
    if asked := size_asked_for():
        print(msgspec.json.encode(asyncio.run(measured(asked[0], twice=asked[1]))).decode())
        return
    given = options(__doc__, largest=1_000_000, twice_up_to=300_000)
    found = [
        msgspec.json.decode(in_a_process(__file__, size, flag=size <= given.twice_up_to), type=Found)
        for size in sizes_up_to(given.largest)
    ]
    show(
        f"The index of {DIMENSIONS} dimensions; {PASS * PASSES} questions, {PASS} in a pass",
        ["vectors", "build, CPU µs", "search, CPU ms", "recall@10", "memory, MB", "disk, bytes", "two builds differ"],
        [
            [
                f"{each.vectors:,}",
                f"{each.build_us:.0f}",
                f"{each.search_ms:.2f}",
                f"{each.recall:.3f}",
                f"{each.anonymous_mb:.0f}",
                f"{each.disk_bytes:.0f}",
                "not tried" if each.differ < 0 else str(each.differ),
            ]
            for each in found
        ],
    )
    rows = rows_of(found)
    show_rows("The largest against the smallest", rows)
    write(given.json, {"rows": rows, "found": found})


def rows_of(found: list[Found]) -> list[Row]:
    few, many = found[0], found[-1]
    sizes = f"{many.vectors:,} against {few.vectors:,}"
    return [
        growth_row(f"CPU µs a vector, to build the store, {sizes}", few.build_us, many.build_us),
        growth_row(f"CPU ms a search in passes, {sizes}", few.search_ms, many.search_ms),
        memory_row(f"memory of the build, {sizes}, MB", few.anonymous_mb, many.anonymous_mb, most_mb=TARGET_MB),
        Row(
            measure=f"answers of two builds that differ, of {PASS * PASSES} questions, at each size tried",
            value=", ".join(str(each.differ) for each in found if each.differ >= 0),
            target="0",
            met=all(each.differ <= 0 for each in found),
        ),
    ]


async def measured(count: int, *, twice: bool) -> Found:
    from jobs.retrieval.lancedb_store import ChunkStore

    asked = questions(count)
    with tempfile.TemporaryDirectory() as folder, Watch() as watch:
        one = Path(folder, "one")
        making_s, began = spent_making(count), time.process_time()
        made = await ChunkStore.build(one, batches(count), approximate_from=1)
        build_s = time.process_time() - began - making_s
        await made.search(asked[:PASS], top_k=TOP_K)  # opens files and warms up
        began = time.process_time()
        found = await answers(made, asked)
        search_s = time.process_time() - began
        size = disk_bytes(one)
        differ = -1
        if twice:
            again = await ChunkStore.build(Path(folder, "two"), batches(count), approximate_from=1)
            differ = sum(a != b for a, b in zip(found, await answers(again, asked), strict=True))
    return Found(
        vectors=count,
        build_us=1e6 * build_s / count,
        search_ms=1e3 * search_s / len(asked),
        recall=recall(count, asked[:PASS], found[:PASS]),
        anonymous_mb=watch.peak_mb,
        disk_bytes=size / count,
        differ=differ,
    )


async def answers(made: Any, asked: list[list[float]]) -> list[list[tuple[str, float]]]:
    found = []
    for start in range(0, len(asked), PASS):
        each = await made.search(asked[start : start + PASS], top_k=TOP_K)
        found += [[(row["id"], row["_distance"]) for row in rows] for rows in each]
    return found


def centres(count: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.standard_normal((max(1, count // A_CENTRE), DIMENSIONS), dtype=np.float32)


def blocks(count: int) -> Iterator[NDArray[np.float32]]:
    """The vectors, each of length 1, a block at a time: the memory measured is not theirs."""
    around = centres(count)
    for start in range(0, count, BLOCK):
        random, size = np.random.default_rng((1, start)), min(BLOCK, count - start)
        made = around[random.integers(0, len(around), size)]
        made += 0.6 * random.standard_normal((size, DIMENSIONS), dtype=np.float32)
        yield made / np.linalg.norm(made, axis=1, keepdims=True)


def spent_making(count: int) -> float:
    """CPU seconds that the vectors themselves take."""
    began = time.process_time()
    for _ in batches(count):
        pass
    return time.process_time() - began


def questions(count: int) -> list[list[float]]:
    """Most lie near a vector, one of eight anywhere."""
    random = np.random.default_rng(2)
    around = centres(count)
    size = PASS * PASSES
    near = around[random.integers(0, len(around), size)] + 0.6 * random.standard_normal((size, DIMENSIONS))
    near[::8] = random.standard_normal((len(near[::8]), DIMENSIONS))
    asked: list[list[float]] = near.tolist()
    return asked


def recall(count: int, asked: list[list[float]], found: list[list[tuple[str, float]]]) -> float:
    """Of the true nearest, the share that was found; of the questions that lie near something."""
    at = np.array(asked, dtype=np.float32)
    best, numbers = np.full((len(at), TOP_K), -np.inf, dtype=np.float32), np.zeros((len(at), TOP_K), dtype=np.int64)
    for number, block in enumerate(blocks(count)):
        dots = np.concatenate([best, at @ block.T], axis=1)
        ids = np.concatenate([numbers, np.tile(np.arange(len(block)) + number * BLOCK, (len(at), 1))], axis=1)
        top = np.argpartition(-dots, TOP_K - 1, axis=1)[:, :TOP_K]
        best, numbers = np.take_along_axis(dots, top, axis=1), np.take_along_axis(ids, top, axis=1)
    near = [place for place in range(len(at)) if place % 8]
    hits = [len({int(id_) for id_, _ in found[place]} & {*numbers[place].tolist()}) for place in near]
    return sum(hits) / (TOP_K * len(near))


def batches(count: int) -> Iterator[list[tuple[Any, NDArray[np.float32]]]]:
    from jobs.records import Chunk

    number, text = 0, "A chunk's text. " * 25
    for block in blocks(count):
        batch = []
        for vector in block:
            paper = f"paper {number // A_CENTRE}"
            batch.append(
                (
                    Chunk(
                        id=f"{number:09d}",
                        parent=paper,
                        paper_id=paper,
                        title="A title",
                        position=number % A_CENTRE,
                        text=text,
                        page_first=1,
                        page_last=1,
                        split="train",
                        note="",
                    ),
                    vector,
                )
            )
            number += 1
        yield batch


if __name__ == "__main__":
    main()
