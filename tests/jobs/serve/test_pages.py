from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from browser import Reader
from served import client, site
from served_run import HOSTILE, sealed_run

PAGES = [
    "/",
    "/papers",
    "/papers?text=script",
    "/papers/0/a",
    "/papers/1/c",
    "/pairs",
    "/pairs?text=script",
    "/pairs/0/p1",
]


async def read(folder: Path, path: str) -> tuple[int, str]:
    async with client(site(folder)) as browser:
        answer = await browser.get(path)
        return answer.status, await answer.text()


@pytest.mark.parametrize("path", PAGES)
async def test_texts_from_outside_stay_text(tmp_path: Path, path: str) -> None:
    """A paper whose name and text are HTML, script, escapes and templates gives no tag, no attribute and no other page."""
    sealed_run(tmp_path, text=HOSTILE)
    status, html = await read(tmp_path, path)
    reader = Reader(html)
    assert status == 200
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "49" not in reader.text
    assert all(attributes.get("src", "").startswith("/") for tag, attributes in reader.tags if tag in ("script", "img"))
    assert not [
        name for _, attributes in reader.tags for name in attributes if name.startswith("on") or name == "style"
    ]
    if path not in ("/", "/papers/1/c"):
        assert "<script>alert(1)</script>" in reader.text


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_needs_nothing_from_elsewhere(tmp_path: Path, path: str) -> None:
    """Everything that a page names is its server's own."""
    sealed_run(tmp_path)
    _, html = await read(tmp_path, path)
    links = [attributes.get(name) for _, attributes in Reader(html).tags for name in ("src", "href", "action")]
    assert all(link.startswith(("/", "#")) for link in links if link)


async def test_a_pair_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    """Its chunk with the evidence marked, its contexts with scores from other papers, answers and the judge's words."""
    sealed_run(tmp_path)
    _, html = await read(tmp_path, "/pairs/0/p1")
    text = Reader(html).text
    for words in ("Why does the mill grind?", "kept", "Grounded 5", "The text of a-0.", "On b", "1.000", "0.500"):
        assert words in text
    for words in ("Because of the stones.", "Correctness 2.5", "Not all of it."):
        assert words in text
    assert "<mark" in html


async def test_a_pair_over_two_chunks(tmp_path: Path) -> None:
    """Its type stands beside it in the table and on its page, which has both chunks with the evidence marked in each."""
    run = sealed_run(tmp_path)
    first, *others = run.datasets()["pairs"].rows()
    two = {"type": "multi_step", "second_chunk_id": "a-1", "second_evidence": "The text of a-1."}
    run.datasets()["pairs"].write_sealed(0, [msgspec.structs.replace(first, **two), *others])
    _, html = await read(tmp_path, "/pairs/0/p1")
    text = Reader(html).text
    for words in ("multi step", "Its second chunk", "The text of a-1."):
        assert words in text
    assert html.count("<mark") == 2
    _, table = await read(tmp_path, "/pairs")
    assert Reader(table).text.count("multi step") == 1


async def test_a_paper_with_its_chunks_and_pairs(tmp_path: Path) -> None:
    """Its pages as pictures to be drawn, its chunks in order, and the pairs beside the chunk that they came from."""
    sealed_run(tmp_path)
    _, html = await read(tmp_path, "/papers/0/a")
    reader = Reader(html)
    pictures = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert pictures == [f"/papers/0/a/pages/{number}.png" for number in (1, 2, 3)]
    assert reader.text.index("Chunk 1") < reader.text.index("Why does the mill grind?") < reader.text.index("Chunk 2")


@pytest.mark.parametrize(
    "path",
    [
        "/papers/0/c",
        "/papers/7/a",
        "/pairs/0/nothing",
        "/pairs/x/p1",
        "/papers/0/..%2f..%2frun.toml",
        "/papers/0/a/pages/9.png",
    ],
)
async def test_what_is_not_there_is_said(tmp_path: Path, path: str) -> None:
    """An address of no paper, pair or page is a page that says so."""
    sealed_run(tmp_path)
    status, html = await read(tmp_path, path)
    assert status == 404
    assert "Traceback" not in html


async def test_a_run_without_rows_yet_has_its_pages(tmp_path: Path) -> None:
    """Beside a run that has just begun, each page says that nothing is there yet."""
    for path, words in (("/papers", "No paper is dealt yet."), ("/pairs", "No pair is made yet."), ("/", "Progress")):
        status, html = await read(tmp_path, path)
        assert (status, words in html) == (200, True)


async def test_a_damaged_shard_is_a_page_that_says_what_to_do(tmp_path: Path) -> None:
    """The reader sees which file is damaged and what to do, as on the command line."""
    sealed_run(tmp_path)
    (tmp_path / "pairs" / "00000.jsonl").write_bytes(b"")
    status, html = await read(tmp_path, "/pairs")
    assert status == 500
    assert "restore it from a copy" in html
