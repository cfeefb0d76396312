from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from browser import CHROMIUM, Reader, opened
from report_sample import HOSTILE, LONG, sample
from test_data import page

from jobs.report.data import results_json


def test_the_differences_follow_the_table() -> None:
    """Right under the table stands what the models differ by, with its reading, before any plot."""
    text = Reader(page(sample())).text
    places = [text.index(words) for words in ("Semantic similarity", "Did it help?", "What retrieval adds", "Coverage")]
    assert places == sorted(places)
    assert "tuned − base validation, with retrieval" in text
    assert "clearly higher" in text


def test_every_part_of_the_report_is_on_the_page() -> None:
    """Judge noise, retrieval, gains and losses with their words, the loss curve, what curation left out, times."""
    text = Reader(page(sample())).text
    for words in (
        "Asked twice about the same 39 answers",
        "turned with the order",
        "recall@5",
        "Largest gains",
        "the question was made from this",
        "Judge: Misses what is done with the journal.",
        "Lowest validation loss: 1.692 at step 75 (epoch 1.5); the last is 1.759, at step 150.",
        "Pairs that curation refused not_found 131",
        "finetune – – – – – – – 1 h 10 min",
    ):
        assert words in text


def test_texts_from_models_stay_text() -> None:
    """Questions, answers, contexts, feedback and metrics that hold markup become no tag and no attribute."""
    report = sample(text=HOSTILE)
    hostile = {HOSTILE: report.rows[0].correctness}
    rows = [msgspec.structs.replace(row, metrics=hostile, model=HOSTILE, split=HOSTILE) for row in report.rows]
    differences = [msgspec.structs.replace(each, model=HOSTILE, against=HOSTILE) for each in report.differences]
    reader = Reader(page(msgspec.structs.replace(report, rows=rows, differences=differences)))
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "link", "a", "form"}
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert reader.open == []


def test_a_handful_of_questions_is_called_one() -> None:
    """A table of three questions says that it shows nothing, on every side and in every reading."""
    report = sample(questions=3, papers=3)
    text = Reader(page(report)).text
    assert "validation, with retrieval 3 questions: read nothing into this" in text
    assert "clearly" not in text.replace("It is called clear only", "")


def test_times_are_on_the_page_alone() -> None:
    """How long jobs took differs from run to run, so `results.json` does not hold it."""
    report = sample()
    assert results_json(report) == results_json(msgspec.structs.replace(report, seconds={}))
    assert page(report) != page(msgspec.structs.replace(report, seconds={}))


@pytest.mark.processes
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("text", [LONG, HOSTILE, "w" * 3000], ids=["prose", "hostile", "unbroken"])
async def test_in_a_browser(tmp_path: Path, text: str) -> None:
    """Headless Chromium draws the page without a word on its console, fetches nothing, and never scrolls sideways,
    on a phone or a desk, whatever the texts are and with everything opened."""
    file = tmp_path / "report.html"
    file.write_text(page(sample(text=text)), encoding="utf-8")
    async with opened() as shown:
        for width in (390, 1280):
            await shown.show(file, width=width)
            await shown.value("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert await shown.value("document.documentElement.scrollWidth") == width
            assert await shown.value("document.querySelectorAll('svg circle').length") > 100
            assert shown.console == []
            assert shown.requests == [file.as_uri()]
