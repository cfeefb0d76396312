"""From how many vectors on does an approximate search pay, and what does it find of what an exact one finds?

Clustered vectors of 384 dimensions, as embeddings are. For each number of them: the time of a search alone and among
others in one pass, exact and by the index; the time to build that; recall@10 against the exact search; and the time of
two searches a vector, as many as there are with two questions a chunk, both ways. Each number in a process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from tables import Row, options, show, write

DIMENSIONS, TOP_K, PASS, ALONE, SEARCHES_PER_VECTOR = 384, 10, 256, 16, 2
BATCH = 4096


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms of one search, but for ``build_s``; ``approximate`` are with the index."""

    vectors: int
    exact_alone_ms: float
    exact_ms: float
    build_s: float
    approximate_alone_ms: float
    approximate_ms: float
    recall: float
    same_in_a_pass: bool

    @property
    def exact_total_s(self) -> float:
        return SEARCHES_PER_VECTOR * self.vectors * self.exact_ms / 1000

    @property
    def approximate_total_s(self) -> float:
        return self.build_s + SEARCHES_PER_VECTOR * self.vectors * self.approximate_ms / 1000


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(msgspec.json.encode(asyncio.run(measured(int(sys.argv[2])))).decode())
        return
    given = options(__doc__, largest=50_000)
    sizes = [size for size in (5_000, 10_000, 20_000, 50_000, 100_000, 200_000) if size <= given.largest]
    found = [in_a_process(size) for size in sizes]
    show(
        f"A search of {DIMENSIONS} dimensions, ms: alone, and among {PASS} in one pass",
        [
            "vectors",
            "exact alone",
            "in a pass",
            "index alone",
            "in a pass",
            "build, s",
            "recall@10",
            "exact, s",
            "index, s",
        ],
        [
            [
                each.vectors,
                f"{each.exact_alone_ms:.2f}",
                f"{each.exact_ms:.2f}",
                f"{each.approximate_alone_ms:.2f}",
                f"{each.approximate_ms:.2f}",
                f"{each.build_s:.1f}",
                f"{each.recall:.3f}",
                f"{each.exact_total_s:.0f}",
                f"{each.approximate_total_s:.0f}",
            ]
            for each in found
        ],
    )
    from jobs.config.retrieval import APPROXIMATE_FROM

    pays = next((each.vectors for each in found if each.approximate_total_s < each.exact_total_s), None)
    print(f"the index pays from {pays or 'more'} vectors on; set is {APPROXIMATE_FROM}")
    write(given.json, {"rows": [told(each) for each in found], "found": found, "pays_from": pays})


def in_a_process(vectors: int) -> Found:
    command = [sys.executable, __file__, "--one", str(vectors)]
    return msgspec.json.decode(subprocess.run(command, check=True, capture_output=True).stdout, type=Found)


def told(found: Found) -> Row:
    return Row(
        measure=f"retrieval among {found.vectors:,} vectors, {PASS} searches in one pass",
        value=f"index {found.approximate_ms:.2f} ms a search, recall@10 {found.recall:.3f}, built in {found.build_s:.0f} s",
        floor=f"exact {found.exact_ms:.2f} ms, alone {found.exact_alone_ms:.2f} ms",
        ratio=f"{found.approximate_total_s / found.exact_total_s:.2f} × exact, build included",
        target="found in a pass = found alone",
        met=found.same_in_a_pass,
    )


async def measured(count: int) -> Found:
    from jobs.retrieval.lancedb_store import ChunkStore

    vectors = clustered(count)
    random = np.random.default_rng(1)
    asked = list(vectors[random.integers(0, count, PASS)] + random.normal(0, 0.05, (PASS, DIMENSIONS)).astype("f4"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        made = await ChunkStore.build(Path(folder, "exact"), batches(vectors), approximate_from=sys.maxsize)
        table_s = time.perf_counter() - began
        await ids(made, asked[:2])  # opens files and warms up
        exact_alone_ms, alone = await one_by_one(made, asked)
        exact_ms, exact = await in_one_pass(made, asked)
        began = time.perf_counter()
        made = await ChunkStore.build(Path(folder, "index"), batches(vectors), approximate_from=1)
        build_s = time.perf_counter() - began - table_s
        await ids(made, asked[:2])
        approximate_alone_ms, _ = await one_by_one(made, asked)
        approximate_ms, approximate = await in_one_pass(made, asked)
    hits = sum(len(set(true) & set(near)) for true, near in zip(exact, approximate, strict=True))
    return Found(
        vectors=count,
        exact_alone_ms=exact_alone_ms,
        exact_ms=exact_ms,
        build_s=build_s,
        approximate_alone_ms=approximate_alone_ms,
        approximate_ms=approximate_ms,
        recall=hits / (PASS * TOP_K),
        same_in_a_pass=exact[:ALONE] == alone,
    )


async def one_by_one(made: Any, asked: list[NDArray[np.float32]]) -> tuple[float, list[list[str]]]:
    began = time.perf_counter()
    found = [(await ids(made, [vector]))[0] for vector in asked[:ALONE]]
    return 1000 * (time.perf_counter() - began) / ALONE, found


async def in_one_pass(made: Any, asked: list[NDArray[np.float32]]) -> tuple[float, list[list[str]]]:
    began = time.perf_counter()
    found = await ids(made, asked)
    return 1000 * (time.perf_counter() - began) / len(asked), found


async def ids(made: Any, asked: list[NDArray[np.float32]]) -> list[list[str]]:
    return [[row["id"] for row in rows] for rows in await made.search(asked, top_k=TOP_K)]


def clustered(count: int) -> NDArray[np.float32]:
    """Unit vectors around a centre for each fifty of them: chunks of one paper are near each other."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(1, count // 50), DIMENSIONS), dtype=np.float32)
    vectors = centres[random.integers(0, len(centres), count)]
    vectors = vectors + 0.6 * random.standard_normal((count, DIMENSIONS), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def batches(vectors: NDArray[np.float32]) -> Iterator[list[tuple[Any, NDArray[np.float32]]]]:
    from jobs.records import Chunk

    for start in range(0, len(vectors), BATCH):
        yield [
            (
                Chunk(
                    id=f"{number:08d}",
                    parent="paper",
                    paper_id="paper",
                    title="A title",
                    position=number,
                    text="A chunk's text. " * 250,
                    page_first=1,
                    page_last=1,
                    split="train",
                    note="",
                ),
                vectors[number],
            )
            for number in range(start, min(start + BATCH, len(vectors)))
        ]


if __name__ == "__main__":
    main()
