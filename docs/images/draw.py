"""Draw the pictures of the documents: ``python docs/images/draw.py``; needs a Chromium on the path."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / part) for part in (".", "tests", "tests/jobs")]

from browser import opened
from report_sample import MODELS, sample

from jobs.report.page import report_html

WIDTH, HEIGHT = 1000, 905


async def draw() -> None:
    """The top of the sample report, as report.png."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_bytes(report_html(sample()).replace(MODELS[-1].encode(), b"rival"))
        async with opened() as browser:
            await browser.show(page, width=WIDTH)
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
            found = await browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    picture = Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB")
    picture.quantize(64).save(HERE / "report.png", optimize=True)


if __name__ == "__main__":
    asyncio.run(draw())
