"""The pages in headless Chromium: live, at three widths, without an error, and with axe-core where it was fetched."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from browser import CHROMIUM, Page, opened
from conftest import ROOT
from samples import pair
from served_run import HOSTILE, paper, sealed_run

from jobs.cli.serve_command import served
from jobs.config import Config
from jobs.parsing.parse import Settings, read_paper
from jobs.run import configfile
from jobs.run.folder import RunFolder

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PATHS = ("/", "/papers", "/papers/0/a", "/papers/1/c", "/pairs", "/pairs?decision=kept", "/pairs/0/p1")
LOOKS = ((1400, False), (390, False), (1400, True))


@asynccontextmanager
async def shown(run: RunFolder) -> AsyncIterator[tuple[Page, str]]:
    """A browser that is let in to the pages of `run`, and the address that they begin with."""
    run.settings.write_bytes(configfile.dump(Config()))
    async with served(run, port=0) as address, opened() as page:
        await page.show(address, width=1400)
        yield page, address.partition("?")[0].rstrip("/")


async def until(page: Page, condition: str, limit_s: float = 60) -> None:
    """Wait until a JavaScript expression holds on the page."""
    async with asyncio.timeout(limit_s):
        while not await page.value(f"Boolean({condition})"):  # noqa: ASYNC110 - a page has no event for it
            await asyncio.sleep(0.05)


def own_errors(page: Page) -> list[str]:
    """What the console said, but for pictures of papers that are not there, which their pages say themselves."""
    return [said for said in page.console if "404" not in said]


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_at_three_widths(tmp_path: Path, path: str) -> None:
    """No page is wider than its screen, says anything on the console, or asks another server for anything."""
    async with shown(sealed_run(tmp_path)) as (page, base):
        for width, dark in LOOKS:
            await page.show(base + path, width=width, dark=dark)
            assert await page.value("document.documentElement.scrollWidth <= innerWidth"), (width, path)
            assert own_errors(page) == []
            assert [url for url in page.requests if not url.startswith(base)] == []


async def test_hostile_papers_run_nothing(tmp_path: Path) -> None:
    """Papers whose name and text are script, markup and escapes are shown as text by the script of a page, too."""
    run = sealed_run(tmp_path, text=HOSTILE)
    run.log.write_text(
        '{"time":"2026-01-02T03:04:05Z","event":"gristmill.note","job":"ask","text":"<script>alert(1)</script>"}\n'
    )
    async with shown(run) as (page, base):
        for path in PATHS:
            await page.show(base + path, width=1400)
            assert own_errors(page) == []
            assert await page.value("document.querySelectorAll('[onerror], img[src=x], main script').length") == 0
        await page.show(f"{base}/", width=1400)
        await until(page, "document.querySelector('#log li')")
        assert "<script>alert(1)</script>" in await page.value("document.getElementById('log').textContent")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not fetched: npm install --no-save axe-core")
@pytest.mark.parametrize("path", PATHS)
async def test_axe_finds_no_serious_fault(tmp_path: Path, path: str) -> None:
    """Everyone can read and use the pages, in light and in dark, as far as axe-core can say."""
    async with shown(sealed_run(tmp_path)) as (page, base):
        for width, dark in LOOKS:
            await page.show(base + path, width=width, dark=dark)
            await until(page, "document.readyState === 'complete'")
            await page.value(AXE.read_text("utf-8"))
            await page.value("axe.run().then((found) => { window.found = found.violations; })")
            await until(page, "window.found")
            faults = await page.value(
                "found.filter((fault) => ['serious', 'critical'].includes(fault.impact))"
                ".map((fault) => fault.id + ': ' + fault.nodes.map((node) => node.html).join(' '))"
            )
            assert faults == [], (path, width, dark)


async def test_pages_are_drawn_with_their_chunks(tmp_path: Path, example_papers: Path) -> None:
    """A page of a PDF file comes from a worker process; its chunks are marked over it, and what a pair relies on."""
    async with shown(drawn_run(tmp_path, example_papers)) as (page, base):
        await page.show(f"{base}/papers/0/a", width=1400)
        await until(page, "document.querySelectorAll('.sheet svg rect.chunk-0').length > 3")
        await until(page, "document.querySelector('.sheet rect.quote')")
        await until(page, "document.querySelector('.sheet img').naturalWidth === 1000")
        assert own_errors(page) == []


def drawn_run(folder: Path, papers: Path) -> RunFolder:
    """A run of one real paper, with a pair that relies on its second chunk."""
    run, path = RunFolder(folder), min(papers.glob("*.pdf"))
    datasets = run.datasets()
    row = paper("a", path=str(path))
    settings = Settings(chunk_size=256, chunk_overlap=0, split_by="paper", train=0.7, seed=0)
    chunks = read_paper((row, settings))
    evidence = chunks[1].text.split("\n\n")[1][:200].rpartition(" ")[0]
    asked = msgspec.structs.replace(pair("p1", chunk=chunks[1].id, paper="a"), evidence=evidence)
    for name, rows in (("papers", [row]), ("chunks", chunks), ("pairs", [asked])):
        datasets[name].write_sealed(0, rows)
    return run


async def test_a_live_run_watched_to_its_end(
    tmp_path: Path, example_papers: Path, simulate: Callable[..., str], configured: Callable[..., Path]
) -> None:
    """A page that is opened while the run works follows it by itself, and says at its end that all jobs are done."""
    out, config = tmp_path / "run", configured(simulate("--latency-mean-s", "0.3"))
    command = [sys.executable, "-m", "jobs", "run", str(example_papers), "--out", str(out), "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, "--serve", "--port", "0", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        async with opened() as page:
            await page.show(await _address(process), width=1400)
            await until(page, "document.body.dataset.state === 'works'")
            assert not await page.value("document.getElementById('flying').hidden")
            await until(page, "document.getElementById('state').textContent.includes('has ended')", 120)
            assert "All jobs are done" in await page.value("document.getElementById('state').textContent")
            assert await page.value("document.querySelectorAll('#jobs .badge.good').length") >= 8
            assert await page.value("document.querySelectorAll('#rates svg').length") > 3
            assert own_errors(page) == []
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    """The address that the run prints; the rest of what it says is read and dropped."""
    assert process.stderr is not None
    async for line in process.stderr:
        if found := re.search(rb"see it at (http\S+)", line):
            asyncio.get_running_loop().create_task(process.stderr.read())
            return found[1].decode()
    raise AssertionError("the run ended before it was served")
