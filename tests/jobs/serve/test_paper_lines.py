from __future__ import annotations

from pathlib import Path

import pytest
from served_run import sealed_run

from jobs.serve.committed import Committed
from jobs.serve.paper_lines import PaperLines, PaperQuery


def lines(folder: Path) -> PaperLines:
    return PaperLines({name: Committed(dataset) for name, dataset in sealed_run(folder).datasets().items()})


def found(papers: PaperLines, query: PaperQuery) -> list[str]:
    return [line.id for line in papers.page(query, 0, 50, 60)[0]]


def test_the_figures_of_a_paper(tmp_path: Path) -> None:
    """A line has the title, pages, chunks and pairs of its paper; one that failed has the kind and the reason."""
    papers = lines(tmp_path)
    first, second, third = papers.page(PaperQuery(), 0, 50, 0)[0]
    assert (first.name, first.title, first.state, first.pages, first.chunks) == ("a.pdf", "On a", "parsed", 3, 2)
    assert (first.kept, first.refused, second.kept, second.refused) == (2, 0, 0, 1)
    assert (third.state, third.reason, third.chunks) == ("no_text", "a scan", 0)
    assert papers.states() == {"no_text": 1}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (PaperQuery(text="ON A"), ["a"]),
        (PaperQuery(text="c.pdf"), ["c"]),
        (PaperQuery(state="failed"), ["c"]),
        (PaperQuery(state="parsed"), ["a", "b"]),
        (PaperQuery(state="no_text"), ["c"]),
        (PaperQuery(pages=4), ["b"]),
        (PaperQuery(refused=1), ["b"]),
        (PaperQuery(order="pages"), ["b", "a", "c"]),
        (PaperQuery(order="kept"), ["a", "b", "c"]),
        (PaperQuery(state="waiting"), []),
    ],
)
def test_search_filter_and_order(tmp_path: Path, query: PaperQuery, ids: list[str]) -> None:
    """Each question of the form is answered from all shards."""
    assert found(lines(tmp_path), query) == ids


def test_a_plain_page_reads_its_own_shards_only(tmp_path: Path) -> None:
    """The second page of the table needs no row of the shards before it."""
    papers = lines(tmp_path)
    (tmp_path / "chunks" / "00000.jsonl").unlink()
    page, total, looked = papers.page(PaperQuery(), 2, 1, 0)
    assert [line.id for line in page] == ["c"]
    assert (total, looked.whole) == (3, True)


def test_a_paper_that_is_not_parsed_yet_waits(tmp_path: Path) -> None:
    """While the shard of its chunks is open, a paper is there and waits."""
    papers = lines(tmp_path)
    (tmp_path / "chunks" / "00001.done.json").unlink()
    assert found(papers, PaperQuery(state="waiting")) == ["c"]
