"""How long do 50 papers take from PDF to training examples, against the notebook's own way on today's LlamaIndex?

Parse, ask, answer, index, augment, at a latency of 0.75 s for chat and 0.2 s for embeddings, no limit. Both keep 60 pairs
a paper and start from nothing, imports included. Ours is `gristmill run` on all papers, without curation, which the
notebook has not. The notebook does one paper after the other, so its time is measured on a few papers spread over the
corpus and scaled by pages; how far that can be trusted is shown by what each of them alone would have said.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from environments import python_of, tiktoken_tables
from papers import cut_papers, sources
from processes import Watched, counted_by, said_by, simulated, watched
from tables import Row, figure, options, show_rows, skip, write

SIMULATION = {
    "latency_mean_s": 0.75,
    "latency_sigma": 0.5,
    "embedding_latency_mean_s": 0.2,
    "output_tokens_mean": 150,
    "output_tokens_sigma": 0.25,
}
KEPT, MOST_A_CHUNK = 60, 20
"""Pairs kept of a paper, and questions that are asked of a chunk at most, as in the notebook."""
TARGET = 20.0


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """The notebook on a few papers; ``requests`` are its chat calls."""

    import_s: float
    paper_s: list[float]
    examples: int
    cpu_s: float
    pages: list[int] = []
    requests: int = 0

    @property
    def page_s(self) -> list[float]:
        return [seconds / pages for seconds, pages in zip(self.paper_s, self.pages, strict=True)]

    def scaled(self, pages: int) -> float:
        """Seconds for a corpus of `pages` pages."""
        return self.import_s + pages * sum(self.paper_s) / sum(self.pages)


def main() -> None:
    given = options(__doc__, papers=50, pages=12, sample=4)
    if not sources():
        skip(given.json, "there are no papers to cut")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        papers = cut_papers(folder, given.papers, given.pages)
        notebook = sampled(spread(papers, given.sample))
        with simulated(SIMULATION) as base_url, tempfile.TemporaryDirectory() as out:
            ours = watched(folder, Path(out) / "run", base_url, *settings(given.papers))
            examples = sum(path.read_bytes().count(b"\n") for path in Path(out).glob("run/examples/*.jsonl"))
        pages = sum(map(page_count, papers))
    rows = told(ours, examples, notebook, papers=given.papers, pages=pages)
    show_rows(f"From {given.papers} papers, {pages} pages, to examples", rows)
    write(given.json, {"rows": rows, "ours": ours, "examples": examples, "notebook": notebook})


def settings(papers: int) -> list[str]:
    chosen = {
        "ask.max_questions": KEPT * papers,
        "ask.questions_per_chunk": MOST_A_CHUNK,
        "curate.rules": "false",
        "curate.near_duplicates": "false",
    }
    return ["--until=augment", *(f"--set={key}={value}" for key, value in chosen.items())]


def spread(papers: Sequence[Path], count: int) -> list[Path]:
    return [papers[number * len(papers) // count] for number in range(count)]


def sampled(papers: Sequence[Path]) -> Sampled:
    """The notebook on these papers, one after the other."""
    with simulated(SIMULATION) as base_url, tempfile.TemporaryDirectory() as folder:
        task = {"base_url": base_url, "folder": folder, "papers": list(map(str, papers)), "kept": KEPT}
        said = said_by(
            "rivals/notebook",
            msgspec.json.encode(task).decode(),
            python=python_of("llama"),
            core=None,
            TIKTOKEN_CACHE_DIR=str(tiktoken_tables()),
        )
        requests = counted_by(base_url).requests["chat"]
    found = msgspec.json.decode(said, type=Sampled)
    return msgspec.structs.replace(found, pages=list(map(page_count, papers)), requests=requests)


def page_count(path: Path) -> int:
    import pymupdf

    with pymupdf.open(path) as document:
        return len(document)


def told(ours: Watched, examples: int, notebook: Sampled, *, papers: int, pages: int) -> list[Row]:
    theirs_s, sample = notebook.scaled(pages), len(notebook.paper_s)
    asked = ours.requests["ask"] + ours.requests["answer"]
    rates = asked / ours.wall_s, notebook.requests / sum(notebook.paper_s)
    cpu_ms = 1000 * ours.cpu_s / examples, 1000 * notebook.cpu_s / notebook.examples
    return [
        Row(
            measure=f"{papers} papers to examples, 0.75 s latency: the notebook's main part",
            value=f"{ours.wall_s:.3g} s, {examples} examples",
            floor=f"the notebook: {theirs_s:.0f} s (scaled from {sample} papers, {sum(notebook.paper_s):.0f} s)",
            ratio=f"{theirs_s / ours.wall_s:.3g} × faster",
            target=f"≥ {TARGET:g} × faster",
            met=theirs_s >= TARGET * ours.wall_s and examples >= 0.9 * KEPT * papers,
        ),
        Row(
            measure="... the notebook's time as each paper of the sample alone would have it, s",
            value=str(figure([notebook.import_s + pages * page_s for page_s in notebook.page_s])),
        ),
        Row(
            measure="... chat calls a second, whatever they were for",
            value=f"{rates[0]:.3g}",
            floor=f"the notebook: {rates[1]:.3g}",
            ratio=f"{rates[0] / rates[1]:.3g} × as many",
        ),
        Row(
            measure="... chat calls an example",
            value=f"{asked / examples:.3g}",
            floor=f"the notebook: {notebook.requests / notebook.examples:.3g}",
        ),
        Row(
            measure="... CPU ms an example, parsing processes left out",
            value=f"{cpu_ms[0]:.3g}",
            floor=f"the notebook: {cpu_ms[1]:.3g}",
            ratio=f"{cpu_ms[1] / cpu_ms[0]:.3g} × less",
        ),
    ]


if __name__ == "__main__":
    main()
