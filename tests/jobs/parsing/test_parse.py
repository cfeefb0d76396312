from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pymupdf
import pytest

from engine.errors import Permanent
from engine.job import Job
from engine.records import encode
from engine.requests import Reply, Request
from engine.workers import Workers
from jobs.parsing.failures import Kind
from jobs.parsing.parse import WARM_UP, Settings, parse
from jobs.parsing.parsers import Options
from jobs.records import Chunk, Paper

pytestmark = pytest.mark.processes

GOLDEN = Path(__file__).parents[1] / "golden"
PAPERS = Path(__file__).resolve().parents[3].parent / "shared" / "papers"

PARAGRAPH = (
    "Grain is fed between two stones. The upper stone turns and the lower one rests. Flour leaves at the rim, "
    "and the miller feels it between his fingers. When it is warm, the stones are too close. "
)


class Claims:
    """Who claimed which text first, kept in memory."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}

    async def __call__(self, claims: Sequence[tuple[str, str]]) -> list[str]:
        return [self.owners.setdefault(digest, paper) for digest, paper in claims]


async def no_call(request: Request) -> Reply:
    raise AssertionError("parsing pays for nothing")


def job(workers: Workers, claims: Claims | None = None, **changes: Any) -> Job:
    settings: dict[str, Any] = {"chunk_size": 64, "chunk_overlap": 16, "split_by": "paper", "train": 0.7, "seed": 0}
    return parse(workers=workers, settings=Settings(**(settings | changes)), claim_text=claims or Claims())


def paper(path: Path, name: str = "") -> Paper:
    return Paper(id=name or path.stem, parent="", path=str(path), sha256="", bytes=0)


def render(path: Path, title: str, pages: Sequence[str], metadata: str = "") -> Path:
    with pymupdf.open() as document:
        for number, text in enumerate(pages):
            page = document.new_page()
            if not number:
                page.insert_text((72, 60), title, fontsize=18)
            page.insert_textbox((72, 90, 520, 800), text, fontsize=10)
        document.set_metadata({"title": metadata})
        document.save(path)
    return path


async def rows_of(job: Job, *papers: Paper) -> list[Chunk]:
    rows: list[Chunk] = []
    for item in job.expand({"papers": papers}):
        rows += await job.process(item.value, no_call)  # type: ignore[arg-type]
    return rows


async def test_a_paper_becomes_the_golden_chunks(tmp_path: Path) -> None:
    """Every field of every chunk of a small paper, byte by byte."""
    path = render(tmp_path / "mill.pdf", "How a Mill Grinds Its Grain", [PARAGRAPH * 2, "Sails turn it. " + PARAGRAPH])
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        rows = await rows_of(job(workers), paper(path))
    assert b"".join(map(encode, rows)) == (GOLDEN / "parse_chunks.jsonl").read_bytes()


async def test_a_table_of_contents_is_a_part_of_its_paper(tmp_path: Path) -> None:
    """Known by its leaders, without a heading; the chunks of the text are none."""
    entries = "\n".join(f"{number} Of the grain of mill {number} {'.' * 40} {3 * number}" for number in range(1, 30))
    path = render(tmp_path / "mill.pdf", "How a Mill Grinds Its Grain", [entries, PARAGRAPH * 4])
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        rows = await rows_of(job(workers, chunk_size=128), paper(path))
    assert {row.part for row in rows if "Grain is fed" not in row.text} == {"contents"}
    assert {row.part for row in rows if "Grain is fed" in row.text} == {""}


async def test_items_are_papers_and_rows_lead_back(tmp_path: Path) -> None:
    """Each paper is one item under its own id; its chunks name it and count from 0."""
    path = render(tmp_path / "mill.pdf", "How a Mill Grinds Its Grain", [PARAGRAPH * 3])
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        parsing = job(workers)
        papers = [paper(path, "one"), paper(path, "two")]
        assert [(item.id, item.value) for item in parsing.expand({"papers": papers})] == [
            ("one", papers[0]),
            ("two", papers[1]),
        ]
        rows = await rows_of(parsing, *papers)
    assert {parsing.origin(row) for row in rows} == {"one", "two"}
    assert [row.position for row in rows if row.paper_id == "two"] == list(range(len(rows) // 2))
    assert len({row.id for row in rows}) == len(rows)


async def test_a_paper_without_a_title_is_called_by_its_file(tmp_path: Path) -> None:
    """The name stands in the rows, but does not decide the side: copies have other names."""
    pages = ["1234 5678 " * 30]
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        papers = [paper(render(tmp_path / f"copy {number} of it.pdf", "", pages)) for number in range(12)]
        rows = await rows_of(job(workers), *papers)
    assert rows[0].title == "copy 0 of it"
    assert len({row.split for row in rows}) == 1


@pytest.mark.parametrize("split_by", ["paper", "chunk", "question"])
async def test_sides_are_given_by_paper_chunk_or_question(tmp_path: Path, split_by: str) -> None:
    """By paper all chunks agree, by chunk they differ, and by question each serves both sides."""
    pages = [" ".join(f"Sentence number {page} {number} says a little." for number in range(60)) for page in range(4)]
    path = render(tmp_path / "mill.pdf", "How a Mill Grinds Its Grain", pages)
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        sides = {row.split for row in await rows_of(job(workers, split_by=split_by, train=0.5), paper(path))}
    assert (
        sides
        in {
            "paper": [{"train"}, {"val"}],
            "chunk": [{"train", "val"}],
            "question": [{"both"}],
        }[split_by]
    )


async def test_the_first_copy_stays(tmp_path: Path) -> None:
    """A paper whose text another has claimed is a duplicate, in shard order and across shards, also when asked twice."""
    one = render(tmp_path / "one.pdf", "How a Mill Grinds Its Grain", [PARAGRAPH * 3])
    copy = render(tmp_path / "copy.pdf", "How a Mill Grinds Its Grain", [PARAGRAPH * 3], metadata="Saved again")
    other = render(tmp_path / "other.pdf", "How a Loom Weaves Its Cloth", [PARAGRAPH * 2])
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        parsing = job(workers)
        assert parsing.review is not None
        assert parsing.claims is not None
        first = await rows_of(parsing, *map(paper, (other, one, copy)))
        second = await rows_of(parsing, paper(copy, "late"))
    for _ in range(2):
        found = await parsing.review(parsing.claims(first))
        assert {id_: failure.kind for id_, failure in found.items()} == {"copy": "duplicate"}
        assert "paper one" in str(found["copy"])
        assert set(await parsing.review(parsing.claims(second))) == {"late"}


async def test_failures_keep_their_kind(tmp_path: Path) -> None:
    """What the worker finds wrong with a file reaches the job as a `Permanent` of that kind."""
    path = tmp_path / "page.pdf"
    path.write_text("<html>403</html>")
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        with pytest.raises(Permanent) as caught:
            await rows_of(job(workers), paper(path))
    assert caught.value.kind == "not_pdf"


async def test_a_changed_file_is_not_read_under_its_old_name(tmp_path: Path) -> None:
    """The paper's row holds the hash of the bytes that were listed."""
    path = render(tmp_path / "mill.pdf", "How a Mill Grinds Its Grain", [PARAGRAPH])
    listed = Paper(id="mill", parent="", path=str(path), sha256="0" * 64, bytes=1)
    async with Workers(processes=1, initializer=WARM_UP) as workers:
        with pytest.raises(Permanent) as caught:
            await rows_of(job(workers), listed)
    assert caught.value.kind == "changed"


def test_the_fingerprint_holds_what_chunks_depend_on() -> None:
    """Sizes, split and seed are in it; what only bounds the work is not."""

    async def claim(_: object) -> NoReturn:
        raise AssertionError

    workers = Workers(processes=3)
    settings = Settings(chunk_size=64, chunk_overlap=16, split_by="paper", train=0.7, seed=0)
    one = parse(workers=workers, settings=settings, claim_text=claim)
    changes = [{"chunk_size": 65}, {"chunk_overlap": 15}, {"split_by": "chunk"}, {"train": 0.8}, {"seed": 1}]
    assert all(job(workers, **change).fingerprint != one.fingerprint for change in changes)
    changes = [{"parser": "markdown"}, {"parser": "own:read"}, {"options": Options(axes="keep")}]
    assert len({json.dumps(dict(job(workers, **change).fingerprint)) for change in changes}) == 3
    assert all(job(workers, **change).fingerprint != one.fingerprint for change in changes)
    same = [{"max_bytes": 1}, {"parser": "pdf"}, {"options": Options(ocr="off")}]
    assert all(job(workers, **change).fingerprint == one.fingerprint for change in same)
    assert json.dumps(dict(one.fingerprint))
    assert one.slots >= 3


def test_an_unknown_split_is_refused() -> None:
    """With the values that there are."""
    with pytest.raises(ValueError, match="question"):
        job(Workers(processes=1), split_by="sentence")


@pytest.mark.papers
async def test_every_example_paper_is_accounted_for() -> None:
    """All 47 files end as chunks or as a failure from the closed list; every copy of a text is found."""
    files = sorted(path for folder in ("good", "nasty") for path in (PAPERS / folder).iterdir())
    chunks: list[Chunk] = []
    failures: dict[str, str] = {}
    async with Workers(processes=2, timeout_s=100, memory_bytes=2**30, initializer=WARM_UP) as workers:
        parsing = job(workers, chunk_size=1024, chunk_overlap=200)
        for path in files:
            try:
                chunks += await rows_of(parsing, paper(path, path.name))
            except Permanent as failure:
                failures[path.name] = failure.kind
    assert parsing.review is not None
    assert parsing.claims is not None
    duplicates = await parsing.review(parsing.claims(chunks))
    done = {chunk.paper_id for chunk in chunks} - set(duplicates)
    assert len(files) == 47
    assert len(done) + len(duplicates) + len(failures) == 47
    assert set(failures.values()) <= set(Kind.__args__)  # type: ignore[attr-defined]
    assert set(duplicates) == DUPLICATES
    assert max(len(chunk.text) for chunk in chunks) < 12_000


DUPLICATES = {
    "synth-A Ünïcødé 論文 (final) [v2] #3 100%.PDF",
    "synth-A-duplicate-resaved.pdf",
    "synth-A-duplicate-same-bytes.pdf",
    "synth-A-owner-password-nocopy.pdf",
    "synth-A-rotated-pages.pdf",
}
