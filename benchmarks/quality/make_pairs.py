"""Make pairs by every recipe with the same model about the same chunks, and count what each has paid.

    python benchmarks/quality/make_pairs.py FOLDER_OF_PAPERS … --out DIR [--recipes stated,raft] [--chunks 2]

DIR then holds chunks.jsonl, and pairs.jsonl with a line for each chunk and recipe: its pairs, its requests and tokens.
What is there is not made again, so it can be killed, and go on with more chunks or another recipe. The model is the
embedded one, or that of `--endpoint` (with `--model`, and the key in QUALITY_API_KEY).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path

from chunks import SEED, chosen, listed, read
from model import Model
from recipes import RECIPES

from jobs.models.llama_server import LocalServer
from jobs.models.weights import default_weights
from jobs.records import Chunk

PAIRS_PER_CHUNK = 2


def main() -> None:
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    chunks = chosen(read(given.papers, listed()), number=given.chunks, first=given.first)
    keep_chunks(given.out / "chunks.jsonl", chunks)
    units = unmade(given.out / "pairs.jsonl", chunks, given.recipes)
    print(f"{len(chunks)} chunks, {len(units)} of {len(chunks) * len(given.recipes)} to be made", file=sys.stderr)
    if given.endpoint:
        key = os.environ.get("QUALITY_API_KEY", "")
        make(units, [Model(base_url=url, api_key=key, name=given.model, seed=SEED) for url in given.endpoint], given)
    else:
        asyncio.run(with_embedded(units, given))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers", nargs="+", type=Path, help="folders in which the papers of papers.csv are looked for")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=list(RECIPES))
    parser.add_argument("--chunks", type=int, default=2, help="chunks of each paper (2)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first of them (0)")
    parser.add_argument("--endpoint", action="append", help="base URL of another model, ending in /v1; may be repeated")
    parser.add_argument("--model", default="default")
    parser.add_argument("--in-flight", type=int, default=4, help="requests at a time (4)")
    given = parser.parse_args()
    if unknown := set(given.recipes) - RECIPES.keys():
        parser.error(f"no recipe {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    return given


Unit = tuple[str, Chunk]


def keep_chunks(path: Path, chunks: Sequence[Chunk]) -> None:
    """Write the chunks with what a reader of the sheets needs; their text is quoted under the licence in papers.csv."""
    fields = ("id", "paper_id", "title", "section", "page_first", "page_last", "text")
    lines = (json.dumps({name: getattr(chunk, name) for name in fields}, ensure_ascii=False) for chunk in chunks)
    path.write_text("".join(f"{line}\n" for line in lines))


def unmade(path: Path, chunks: Sequence[Chunk], recipes: Sequence[str]) -> list[Unit]:
    """The chunks and recipes that have no line yet, all recipes of a chunk together."""
    lines = path.read_text().splitlines() if path.exists() else []
    made = {(row["recipe"], row["chunk_id"]) for row in map(json.loads, lines)}
    return [(recipe, chunk) for chunk in chunks for recipe in recipes if (recipe, chunk.id) not in made]


async def with_embedded(units: Sequence[Unit], given: argparse.Namespace) -> None:
    weights = await asyncio.to_thread(default_weights, lambda line: print(line, file=sys.stderr))
    async with LocalServer(weights.path, slots=given.in_flight) as server:
        model = Model(base_url=server.base_url, api_key=server.api_key, name=weights.weights.name, seed=SEED)
        await asyncio.to_thread(make, units, [model], given)


def make(units: Sequence[Unit], models: Sequence[Model], given: argparse.Namespace) -> None:
    """Make the `units`, so many at a time, dealt over the `models`; each is written as soon as it is there."""
    lock, started = threading.Lock(), time.monotonic()
    with (given.out / "pairs.jsonl").open("a") as file, ThreadPoolExecutor(given.in_flight) as pool:

        def one(unit: Unit, model: Model) -> None:
            recipe, chunk = unit
            own = replace(model)
            pairs = RECIPES[recipe](own, chunk, PAIRS_PER_CHUNK)
            row = {
                "recipe": recipe,
                "chunk_id": chunk.id,
                "paper_id": chunk.paper_id,
                "asked": PAIRS_PER_CHUNK,
                "pairs": [pair._asdict() for pair in pairs[:PAIRS_PER_CHUNK]],
                **asdict(own.spent()),
            }
            with lock:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                print(f"{time.monotonic() - started:6.0f} s  {recipe}  {len(pairs)} pairs", file=sys.stderr)

        futures = [pool.submit(one, unit, model) for unit, model in zip(units, cycle(models), strict=False)]
        try:
            for made in as_completed(futures):
                made.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is in flight is still written
            raise


if __name__ == "__main__":
    main()
