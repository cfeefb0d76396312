from __future__ import annotations

from pathlib import Path

import pytest
from served import client, site
from served_run import paper, paper_lines
from test_page_drawing import printed

from jobs.run.folder import RunFolder
from jobs.serve.site import Site

pytestmark = pytest.mark.processes


def one_paper(folder: Path, path: str) -> Site:
    datasets = RunFolder(folder).datasets()
    datasets["papers"].write_sealed(0, [paper("a", path=path)])
    datasets["chunks"].write_sealed(0, paper_lines("a", 1, pages=1))
    return site(folder)


async def test_a_page_is_drawn_by_a_worker(tmp_path: Path) -> None:
    """The picture is a PNG file, its marks are in its pixels, and both are refused to who is not let in."""
    shown = one_paper(tmp_path / "run", printed(tmp_path).path)
    async with shown.workers, client(shown) as browser, client(shown, signed_in=False) as stranger:
        picture = await browser.get("/papers/0/a/pages/1.png")
        marks = await (await browser.get("/papers/0/a/pages/1.json")).json()
        assert (picture.status, picture.content_type) == (200, "image/png")
        assert (await picture.read()).startswith(b"\x89PNG")
        assert (marks["width"], marks["height"]) == (1000, 1400)
        assert (await stranger.get("/papers/0/a/pages/1.png")).status == 403


async def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    """Where the paper was moved or is no PDF file, the page says why it shows no picture, and its worker goes on."""
    (tmp_path / "web.pdf").write_bytes(b"<html>" * 50)
    for number, (path, words) in enumerate((("gone.pdf", "cannot be opened"), ("web.pdf", "not a PDF"))):
        shown = one_paper(tmp_path / str(number), str(tmp_path / path))
        async with shown.workers, client(shown) as browser:
            answer = await browser.get("/papers/0/a/pages/1.json")
            assert answer.status == 404
            assert words in (await answer.json())["error"]
            assert (await browser.get("/papers/0/a/pages/1.png")).status == 404
