"""Draw the pictures of the documents: ``python docs/images/draw.py``; needs a Chromium on the path.

report.png is the top of the sample report of the tests. page.png is a paper in ``gristmill serve``, of a run on the example
papers with the simulated endpoint.
"""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / part) for part in (".", "tests", "tests/jobs")]

from browser import Page, opened
from report_sample import MODELS, sample

from jobs import run_pipeline
from jobs.cli.serve_command import served
from jobs.report.page import report_html
from jobs.run.folder import RunFolder
from jobs.simulator import simulated_endpoint

WIDTH, REPORT_HEIGHT, PAGE_HEIGHT = 1000, 905, 640
DRAWN = """new Promise(done => {
    const drawn = () => document.querySelector(".sheet rect") && document.images[0].naturalWidth;
    const look = () => drawn() ? setTimeout(done, 300) : requestAnimationFrame(look);
    look();
})"""


async def report(browser: Page) -> None:
    """The top of the sample report, as report.png."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_bytes(report_html(sample()).replace(MODELS[-1].encode(), b"rival"))
        await browser.show(page, width=WIDTH)
        await keep(browser, "report.png", REPORT_HEIGHT)


async def page(browser: Page) -> None:
    """A paper with its chunks marked and its pairs beside it, as page.png."""
    with tempfile.TemporaryDirectory(prefix="gristmill-") as folder:
        papers, run = Path(folder) / "papers", Path(folder) / "run"
        shutil.copytree(ROOT / "examples" / "papers", papers)
        async with simulated_endpoint(latency_mean_s=0.02) as endpoint:
            models = {"base_url": endpoint.base_url, "api_key_env": "", "model": "simulated-chat"}
            settings = {"models": {**models, "embedding": {"model": "simulated-embedding"}}}
            await run_pipeline(papers, out=run, settings=settings, until="curate")
        async with served(RunFolder(run), bind="127.0.0.1", port=0) as address:
            await browser.show(address, width=WIDTH)  # takes the token into a cookie
            await browser.show(f"{address.partition('?')[0]}papers", width=WIDTH)
            link = await browser.value("document.querySelector('main a[href^=\"/papers/\"]').href")
            await browser.show(link, width=WIDTH)
            await browser.ask("Runtime.evaluate", expression=DRAWN, awaitPromise=True)
            await keep(browser, "page.png", PAGE_HEIGHT)


async def keep(browser: Page, name: str, height: int) -> None:
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    found = await browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    picture = Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB")
    picture.quantize(256).save(HERE / name, optimize=True)


async def main() -> None:
    async with opened() as browser:
        await report(browser)
        await page(browser)


if __name__ == "__main__":
    asyncio.run(main())
