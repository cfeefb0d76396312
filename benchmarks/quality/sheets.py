"""Make a blind sheet of the pairs that make_pairs.py has made, for somebody to judge by RUBRIC.md.

    python benchmarks/quality/sheets.py DIR … --out benchmarks/quality/sheets/first [--seed 14] [--recipes a,b] [--limit 72]

It writes first.csv, which has the pairs in a shuffled order without their recipes, and first.key.csv, which has the
recipes; whoever judges does not open the second. The pairs about one chunk stand together, so that it is read once. Given
several folders, each recipe is taken from the last one that has it.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["KEY", "POINTS", "SHEET", "made", "sheet", "without_marks", "write"]

POINTS = ("alone", "answered", "right", "complete", "worth", "content")
SHEET = ("item", "chunk_id", "paper", "passage", "question", "answer", *POINTS, "remark")
KEY = ("item", "recipe", "chunk_id", "paper_id")

Row = dict[str, Any]


def sheet(
    pairs: Sequence[Mapping[str, str]], chunks: Mapping[str, Mapping[str, Any]], seed: int
) -> tuple[list[Row], list[Row]]:
    """The rows of the sheet, and those of its key.

    A pair has ``recipe``, ``chunk_id``, ``question`` and ``answer``. The order of chunks and that of the pairs about one
    chunk are shuffled, and items are numbered in that order, so that neither a number nor a place says anything.
    """
    order = random.Random(seed)
    ids = sorted({pair["chunk_id"] for pair in pairs})
    order.shuffle(ids)
    rows, key = [], []
    for chunk_id in ids:
        chunk = chunks[chunk_id]
        own = sorted((pair for pair in pairs if pair["chunk_id"] == chunk_id), key=lambda pair: sorted(pair.items()))
        order.shuffle(own)
        for pair in own:
            item = f"{len(rows) + 1:03d}"
            rows.append(
                {
                    "item": item,
                    "chunk_id": chunk_id,
                    "paper": chunk["title"],
                    "passage": chunk["text"],
                    "question": without_marks(pair["question"]),
                    "answer": without_marks(pair["answer"]),
                }
            )
            key.append({"item": item, "recipe": pair["recipe"], "chunk_id": chunk_id, "paper_id": chunk["paper_id"]})
    return rows, key


def without_marks(text: str) -> str:
    """`text` without what only its recipe's form has put before it: a number, a list mark, "Question:"."""
    return _MARKS.sub("", text.strip()).strip()


_MARKS = re.compile(
    r"^(?:[-*•]\s+|\(?\d{1,2}[.)]\s+|\*{0,2}(?:question|answer)(?:\s*\d+)?\*{0,2}\s*:\s*\*{0,2})+", re.IGNORECASE
)


def made(folders: Iterable[Path]) -> tuple[list[Row], dict[str, Row]]:
    """The lines of pairs.jsonl of the last folder that has each recipe, and the chunks by id."""
    recipes: dict[str, list[Row]] = {}
    chunks: dict[str, Row] = {}
    for folder in folders:
        chunks |= {row["id"]: row for row in _lines(folder / "chunks.jsonl")}
        own: dict[str, list[Row]] = {}
        for row in _lines(folder / "pairs.jsonl"):
            own.setdefault(row["recipe"], []).append(row)
        recipes |= own
    return [row for rows in recipes.values() for row in rows], chunks


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the sheet's path, without .csv")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--recipes", type=lambda text: text.split(","), help="only these")
    parser.add_argument("--chunks", type=Path, help="a file of chunk ids, one a line: only these")
    parser.add_argument("--without", type=Path, nargs="*", default=[], help="sheets whose pairs are left out")
    given = parser.parse_args()
    lines, chunks = made(given.folders)
    there = {_what(row) for path in given.without for row in _rows(path)}
    only = set(given.chunks.read_text().split()) if given.chunks else chunks.keys()
    pairs = [
        {"recipe": line["recipe"], "chunk_id": line["chunk_id"], **pair}
        for line in lines
        if line["chunk_id"] in only and (not given.recipes or line["recipe"] in given.recipes)
        for pair in line["pairs"]
        if _what({**pair, "chunk_id": line["chunk_id"]}) not in there
    ]
    rows, key = sheet(pairs, chunks, given.seed)
    write(given.out.with_name(f"{given.out.name}.csv"), SHEET, rows)
    write(given.out.with_name(f"{given.out.name}.key.csv"), KEY, key)
    print(f"{len(rows)} pairs about {len({row['chunk_id'] for row in rows})} chunks")


def _what(pair: Mapping[str, str]) -> tuple[str, str, str]:
    """What tells pairs apart that are on a sheet."""
    return pair["chunk_id"], without_marks(pair["question"]), without_marks(pair["answer"])


def _rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
