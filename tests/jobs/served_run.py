"""A run for tests of its pages: papers, chunks, pairs and what was said of them, sealed; `text` stands wherever one may."""

from __future__ import annotations

from pathlib import Path

import msgspec
from samples import chunk, example, pair, response

from engine.datasets import Dataset
from engine.shards import FailedInput
from jobs.records import Chunk, Context, Critique, Curated, Pair, Paper, PaperText, Verdict
from jobs.run.folder import RunFolder

__all__ = ["HOSTILE", "paper", "paper_lines", "sealed_run"]

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202egnp\x1b[31m{{ 7*7 }}"


def paper(name: str, *, path: str = "") -> Paper:
    return Paper(id=name, parent="", path=path or f"/papers/{name}.pdf", sha256="", bytes=7)


def paper_lines(name: str, count: int, *, pages: int = 3) -> list[Chunk]:
    """The chunks of one paper."""
    text = PaperText(pages=pages, characters=900, left_out={}, omitted=[])
    made = [chunk(f"{name}-{number}", paper=name, title=f"On {name}") for number in range(count)]
    return [
        msgspec.structs.replace(each, position=number, paper_text=None if number else text)
        for number, each in enumerate(made)
    ]


def sealed_run(folder: Path, *, text: str = "") -> RunFolder:
    """A run of three papers in two shards, one of which failed, with four pairs; one was refused, one was judged."""
    run = RunFolder(folder)
    datasets = run.datasets()
    datasets["papers"].write_sealed(0, [paper("a", path=text), paper("b")])
    datasets["papers"].write_sealed(1, [paper("c")])
    failed = [FailedInput(id="c", kind="no_text", reason=text or "a scan")]
    shown = [
        msgspec.structs.replace(each, title=text or each.title, text=text or each.text)
        for each in [*paper_lines("a", 2), *paper_lines("b", 1, pages=9)]
    ]
    datasets["chunks"].write_sealed(0, shown)
    datasets["chunks"].write_sealed(1, [], failed)
    first = [
        pair("p1", chunk="a-0", paper="a", text=text or "Why does the mill grind?"),
        pair("p2", chunk="a-1", paper="a", split="val"),
        pair("p3", chunk="b-0", paper="b"),
    ]
    _write_pairs(datasets["pairs"], first, text)
    datasets["pairs"].write_sealed(1, [])
    datasets["curated"].write_sealed(0, [_curated(each, text, kept=each.id != "p3") for each in first])
    datasets["critiques"].write_sealed(
        0,
        [Critique(id=f"critique {n}", parent=n, grounded=5, standalone=s, useful=5, feedback=text) for n, s in _RATED],
    )
    datasets["examples"].write_sealed(0, [example(first[0], "a-0", "b-0", title=text)])
    answer = response("r1", text=text or "Because of the stones.")
    seen = [Context(chunk_id="b-0", rank=0, score=0.5)]
    datasets["responses"].write_sealed(0, [msgspec.structs.replace(answer, pair_id="p1", contexts=seen)])
    datasets["verdicts"].write_sealed(0, [_verdict(text)])
    return run


_RATED = (("p1", 4), ("p2", 2))


def _write_pairs(dataset: Dataset[Pair], pairs: list[Pair], text: str) -> None:
    evidence = [f"The text of {each.chunk_id}." for each in pairs]
    dataset.write_sealed(
        0,
        [
            msgspec.structs.replace(each, answer=text or each.answer, evidence=words)
            for each, words in zip(pairs, evidence, strict=True)
        ],
    )


def _curated(of: Pair, text: str, *, kept: bool) -> Curated:
    return Curated(
        id=f"curated {of.id}",
        parent=of.id,
        pair_id=of.id,
        chunk_id=of.chunk_id,
        paper_id=of.paper_id,
        question=of.question,
        answer=of.answer,
        kept=kept,
        reason="" if kept else "too_short",
        detail=text,
        split=of.split,
    )


def _verdict(text: str) -> Verdict:
    return Verdict(
        id="v1",
        parent="r1",
        pair_id="p1",
        paper_id="a",
        model="base",
        correctness=2.5,
        passing=False,
        feedback=text or "Not all of it.",
        semantic_similarity=None,
        split="val",
    )
