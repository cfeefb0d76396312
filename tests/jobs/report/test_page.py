from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from browser import CHROMIUM, Reader, opened
from report_sample import HOSTILE, LONG, sample
from test_data import page

from jobs.report.data import results_json
from jobs.review.figures import ReviewFigures

pytestmark = pytest.mark.slow  # each draws whole reports


def test_the_differences_follow_the_table() -> None:
    """Right under the table stands what the models differ by, with its reading, before any plot."""
    text = Reader(page(sample())).text
    named = ("Semantic similarity", "Did it help?", "What retrieval adds", "Coverage")
    places = [text.rindex(words) if words == "Coverage" else text.index(words, text.index(named[0])) for words in named]
    assert places == sorted(places)
    assert "Correctness tuned − base validation, with retrieval" in text
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
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "link", "form"}
    assert all(link.startswith("#") for link in reader.links)
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert reader.open == []


def test_a_handful_of_questions_is_called_one() -> None:
    """A table of three questions says that it shows nothing, on every side and in every reading."""
    report = sample(questions=3, papers=3)
    text = Reader(page(report)).text
    assert "validation, with retrieval 3 questions: read nothing into this" in text
    assert "clearly" not in text.replace("It is called clear only", "")


def test_the_page_begins_with_what_came_out() -> None:
    """A sentence, contents whose links all lead somewhere, then the way from papers to reviewed pairs."""
    reader = Reader(page(sample()))
    ids = {attributes.get("id") for _, attributes in reader.tags}
    assert reader.links
    assert {link.removeprefix("#") for link in reader.links} <= ids
    text = reader.text
    places = [text.index(words) for words in ("tuned is clearly better than base", "Results", "papers read", "Model ")]
    assert places == sorted(places)
    assert "96 of 2,255 kept pairs evaluated" in text
    assert "papers read 14 of 16 88 % · 2 failed chunks asked about 1,187 of 1,312 90 % · 125 not worth asking" in text
    assert (
        "reviewed pairs 200 of 2,261 9 % · 185 accepted, 9 edited, 6 rejected; 93% of the 150 drawn at random" in text
    )


def test_without_reviews_there_is_no_place_for_them() -> None:
    """A run that nobody has reviewed has no step for it."""
    report = sample()
    assert "reviewed" not in Reader(page(msgspec.structs.replace(report, reviews=ReviewFigures()))).text


def test_pairs_are_there_to_read() -> None:
    """Some kept and some refused pairs with their reasons, how they are spread, and how the split was made."""
    text = Reader(page(sample())).text
    for words in (
        "12 of 2,255 kept pairs",
        "5 of 225 refused pairs",
        "near_duplicate cosine 0.981",
        "Crash-safe batches , page 1 · validation",
        "words of a question median 13",
        "No paper has both.",
        "ask 2,153,663 tokens, 25 %",
    ):
        assert words in text


def test_each_model_has_a_colour_and_a_shape() -> None:
    """Of eleven models each has another class of colour, which the page's styles know, and neighbours differ in shape."""
    report = sample()
    rows = [msgspec.structs.replace(report.rows[0], model=f"model {number}") for number in range(11)]
    html = page(msgspec.structs.replace(report, rows=rows, differences=[], retrieval_effects=[]))
    for number in range(11):
        assert f'swatch m{number}"' in html
        assert f".m{number} {{ --hue" in html
    marks = re.findall(r'swatch m\d+"[^>]*>(<[^>]*>)', html)[:11]
    assert all(one != other for one, other in pairwise(marks))


def test_a_group_of_rows_has_one_axis() -> None:
    """On a wide page the numbers of an axis stand once under the rows that share it."""
    report = sample()
    html = page(report)
    table = html[html.index('class="results"') : html.index('id="help"')]
    assert table.count('class="scales"') == 4
    assert table.count("bar scale") == 8


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
