from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from browser import CHROMIUM, Reader, opened
from report_sample import HOSTILE

from jobs.bench.capacity import Load, Percentiles, capacity
from jobs.bench.findings import Findings
from jobs.bench.page import bench_html


def times(p50: float) -> Percentiles:
    return Percentiles(p50=p50, p90=1.5 * p50, p99=2.5 * p50)


def load(level: float, per_second: float, latency_s: float, **changes: Any) -> Load:
    found = Load(
        loop="closed",
        level=level,
        requests=64,
        answers=64,
        seconds=64 / per_second,
        answers_per_second=per_second,
        input_tokens_per_second=281 * per_second,
        output_tokens_per_second=41.5 * per_second,
        in_flight=level,
        latency=times(latency_s),
        mean_latency_s=latency_s,
        first_token=times(latency_s / 4),
        late_p99_s=0.001,
        errors={},
    )
    return msgspec.structs.replace(found, **changes)


LOADS = [load(1, 2, 0.5), load(8, 15, 0.52), load(64, 30, 2.1, errors={"rate_limited": 3, "timeout": 1})]
REFUSED = load(1, 0.001, 0, answers=0, latency=None, mean_latency_s=None, first_token=None, errors={"timeout": 64})


def findings(loads: list[Load] = LOADS, **changes: Any) -> Findings:
    found = Findings(
        endpoint="https://models.example/v1",
        simulated=False,
        role="judge",
        model="large-2",
        loop="closed",
        streamed=True,
        input_tokens=256,
        max_tokens=128,
        loads=loads,
        capacity=capacity(loads),
    )
    return msgspec.structs.replace(found, **changes)


def page(found: Findings) -> Reader:
    return Reader(bench_html(found).decode())


def test_the_page_says_what_was_found() -> None:
    """Settings to copy, plots with the knee, every load with its percentiles and errors, and how it was measured."""
    text = page(findings()).text
    for words in (
        "At https://models.example/v1 , as judge",
        "[models.judge] max_concurrency = 64",
        "the endpoint handled the highest load: higher ones may give more.",
        "Time to the first token p50 p99",
        "8 15.0 4,215 622 0.520 0.780 1.300 0.130 0.325 0",
        "3 1 timeout",
        "So many clients each send a request",
    ):
        assert words in text


def test_points_carry_values_and_lost_loads_are_marked() -> None:
    """Each point has its value beside it; a load that lost requests is marked under the plot, in the table and in words."""
    html = bench_html(findings([*LOADS[:2], load(64, 30, 2.1, answers=60, errors={"timeout": 4})])).decode()
    assert (
        html.count('class="value"') == 3 + 3 * 3 + 2 * 3
    )  # answers a second; three times of latency; two of first tokens
    assert ">15</text>" in html
    assert html.count("64 ✗") == 3 + 1
    assert "64 in flight ✗: 4 of 64 requests failed (4 timeout), so nothing is recommended from this load" in html
    assert "max_concurrency = 8" in html


def test_a_rate_is_drawn_beside_what_was_due() -> None:
    """In an open loop the plot holds the rate that was asked for, and the page says from when latency counts."""
    loads = [msgspec.structs.replace(load, loop="open") for load in LOADS]
    text = page(findings(loads, loop="open")).text
    assert "answered due" in text
    assert "Each is timed from the instant at which it was due" in text


def test_times_below_a_second_are_drawn_in_milliseconds() -> None:
    """The axis has round numbers of milliseconds where no percentile reaches a second, else of seconds."""
    quick, slow = page(findings([load(1, 2, 0.05), load(2, 4, 0.06)])), page(findings())
    assert "Up: milliseconds" in quick.text
    assert "Up: seconds" not in quick.text
    assert "Up: seconds" in slow.text


@pytest.mark.parametrize("loads", [[LOADS[0]], [REFUSED]], ids=["one", "refused"])
def test_one_load_is_no_curve(loads: list[Load]) -> None:
    """Of a single load, or of one that was refused, there is a table and no plot."""
    reader = page(findings(loads))
    assert "svg" not in {tag for tag, _ in reader.tags}
    assert ("Errors leave no load" in reader.text) == (loads == [REFUSED])


def test_a_load_without_answers_leaves_a_gap() -> None:
    """Beside loads that were answered, one that was not has its row, and its errors."""
    reader = page(findings([*LOADS, msgspec.structs.replace(REFUSED, level=128)]))
    assert "128 ✗ 0.0 0 0 – – – – – 0 64 timeout" in reader.text
    assert reader.open == []


def test_names_stay_text_and_nothing_is_fetched() -> None:
    """What the command line or an endpoint names becomes no tag, and the page refers to nothing outside of itself."""
    errors = {HOSTILE: 2}
    loads = [msgspec.structs.replace(load, errors=errors) for load in LOADS]
    found = findings(loads, model=HOSTILE, endpoint=HOSTILE, role=HOSTILE)
    reader = page(msgspec.structs.replace(found, capacity=capacity(LOADS)))
    assert reader.open == []
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "link", "a", "form"}
    names = {name for _, attributes in reader.tags for name in attributes}
    assert not names & {"src", "href", "srcset", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert b"url(" not in bench_html(found)


@pytest.mark.processes
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("model", ["large-2", "w" * 300], ids=["short", "unbroken"])
async def test_in_a_browser(tmp_path: Path, model: str) -> None:
    """Chromium draws it without a word on its console, fetches nothing, and never scrolls sideways, phone or desk."""
    file = tmp_path / "bench.html"
    file.write_bytes(bench_html(findings(model=model)))
    async with opened() as shown:
        for width in (390, 1280):
            await shown.show(file, width=width)
            assert await shown.value("document.documentElement.scrollWidth") == width
            assert await shown.value("document.querySelectorAll('svg circle').length") == 18
            assert shown.console == []
            assert shown.requests == [file.as_uri()]
