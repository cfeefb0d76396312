"""The chunks that every recipe is asked about: the papers of papers.csv, read and cut by our own parser.

No paper is in the repository. The papers are looked for by their hash in folders, so that whoever has the same files
gets the same chunks. A chunk takes part if a run of gristmill would ask about it; of those of a paper, the seed decides.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from engine.errors import Permanent
from jobs.config.generation import Ask
from jobs.generation.worth_asking import worth_asking
from jobs.parsing.parse import Settings, read_paper
from jobs.records import Chunk, Paper

__all__ = ["SEED", "Listed", "chosen", "listed", "read"]

SEED = 14
_SETTINGS = Settings(chunk_size=256, chunk_overlap=32, split_by="paper", train=0.5, seed=SEED)
_SHORTEST = 600
"""Characters; a shorter chunk is a remainder with room for no two questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A paper of papers.csv: all are under licences that allow to quote them at length."""

    sha256: str
    licence: str
    title: str


def listed() -> list[Listed]:
    with (Path(__file__).parent / "papers.csv").open(newline="") as file:
        return [Listed(**row) for row in csv.DictReader(file)]


def read(folders: Iterable[Path], papers: Sequence[Listed]) -> dict[str, list[Chunk]]:
    """For each of `papers` that is in the `folders`, by its hash: its chunks about which a run would ask."""
    wanted = {paper.sha256: paper for paper in papers}
    found = {digest: path for path, digest in _files(folders) if digest in wanted}
    for digest in wanted.keys() - found.keys():
        print(f"not there: {wanted[digest].title}", file=sys.stderr)
    rule = worth_asking(Ask())
    chunks = {}
    for digest in wanted:
        if digest in found:
            whole = _read(found[digest], digest)
            chunks[digest] = [c for c in whole if rule(c) and not c.part and len(c.text) >= _SHORTEST]
    return chunks


def chosen(chunks: dict[str, list[Chunk]], *, number: int, first: int = 0) -> list[Chunk]:
    """`number` chunks of each paper, from the one numbered `first` on in the paper's own shuffled order.

    The first of every paper come before the second of any, so that a part of the work has all papers, too.
    """
    shuffled = {}
    for digest, found in chunks.items():
        shuffled[digest] = list(found)
        random.Random(f"{SEED} {digest}").shuffle(shuffled[digest])
    return [of[place] for place in range(first, first + number) for of in shuffled.values() if place < len(of)]


def _files(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.pdf")):
            yield path, sha256(path.read_bytes()).hexdigest()


def _read(path: Path, digest: str) -> list[Chunk]:
    paper = Paper(id=digest[:16], parent="", path=str(path.resolve()), sha256=digest, bytes=path.stat().st_size)
    try:
        return read_paper((paper, _SETTINGS))
    except Permanent as fault:
        raise SystemExit(f"{path.name} cannot be read: {fault}") from fault
