"""Runs with many pairs for tests of reviewing, and the addresses of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import structs
from samples import pair
from served import Client
from served_run import paper, paper_lines

from engine.files import file_digest
from engine.records import make_id
from jobs.records import Critique, Curated
from jobs.run.folder import RunFolder

__all__ = ["body", "cards", "decided", "reviewable"]

PER_SHARD = 10


def reviewable(folder: Path, pairs: int = 30, *, curated: bool = True, pdf: Path | None = None) -> RunFolder:
    """A run of `pairs` pairs, ten a shard, two of each paper; every tenth is refused, each has a critic's rating.

    `pdf` is the file of every paper; without it no paper has a file.
    """
    run = RunFolder(folder)
    file = {"path": str(pdf), "sha256": file_digest(pdf), "bytes": pdf.stat().st_size} if pdf else {}
    datasets = run.datasets()
    for shard, first in enumerate(range(0, pairs, PER_SHARD)):
        made = [
            pair(f"pair-{n}", chunk=f"paper-{n // 2}-0", paper=f"paper-{n // 2}")
            for n in range(first, min(pairs, first + PER_SHARD))
        ]
        papers = sorted({each.paper_id for each in made})
        datasets["papers"].write_sealed(shard, [structs.replace(paper(name), **file) for name in papers])
        datasets["chunks"].write_sealed(shard, [each for name in papers for each in paper_lines(name, 1, pages=2)])
        datasets["pairs"].write_sealed(shard, made)
        if curated:
            datasets["curated"].write_sealed(shard, [_curated(each, kept=int(each.id[5:]) % 10 != 9) for each in made])
        datasets["critiques"].write_sealed(
            shard,
            [
                Critique(
                    id=make_id("critique", each.id),
                    parent=each.id,
                    grounded=1 + int(each.id[5:]) % 5,
                    standalone=5,
                    useful=5,
                    feedback="So.",
                )
                for each in made
            ],
        )
    return run


def _curated(of: Any, *, kept: bool) -> Curated:
    return Curated(
        id=make_id("curated", of.id),
        parent=of.id,
        pair_id=of.id,
        chunk_id=of.chunk_id,
        paper_id=of.paper_id,
        question=of.question,
        answer=of.answer,
        kept=kept,
        reason="" if kept else "too_short",
        detail="",
        split=of.split,
    )


def body(pair_id: str, decision: str = "accept", *, at: int = 0, **more: Any) -> dict[str, Any]:
    """What a browser sends about the pair `pair-N`."""
    shard = int(pair_id.removeprefix("pair-")) // PER_SHARD
    return {"shard": shard, "pair_id": pair_id, "decision": decision, "at": at, "who": "Ada", **more}


async def decided(to: Client, pair_id: str, decision: str = "accept", **more: Any) -> tuple[int, dict[str, Any]]:
    """The status and the answer of one decision."""
    answer = await to.post("/review/decisions", json=body(pair_id, decision, **more))
    return answer.status, await answer.json()


async def cards(to: Client, at: int, **queue: Any) -> str:
    answer = await to.get("/review/card", params={"at": str(at), **{key: str(v) for key, v in queue.items()}})
    assert answer.status == 200
    return await answer.text()
