from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from browser import Reader
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engine.requests import Usage
from jobs.records import Verdict
from jobs.report.comparison import Cell, Verdicts
from jobs.report.console_table import print_table
from jobs.report.data import Coverage, Failure, Histogram, JobSummary, ReportData, Row, results_json
from jobs.report.page import report_html, write_report
from jobs.run.batches import BatchesInState

JUDGE_NOTE = "demo judge: a small local model's probability of agreement; not a 1–5 rating"


def verdict(model: str, split: str, correctness: float | None, similarity: float | None, pair: int = 0) -> Verdict:
    return Verdict(
        id=f"{model}{split}{pair}",
        parent="",
        pair_id=str(pair),
        paper_id=str(pair % 3),
        model=model,
        correctness=correctness,
        passing=None,
        feedback="",
        semantic_similarity=similarity,
        split=split,
    )


def verdicts(*models: str) -> list[Verdict]:
    return [
        verdict(model, split, 1.0 + (pair + len(model)) % 5, 0.8 + pair / 100, pair)
        for pair in range(9)
        for model in models
        for split in ("train", "val")
    ]


def table_rows(
    found: list[Verdict], models: list[str], *, asked: dict[tuple[str, str], int] | None = None
) -> list[Row]:
    cells = {Cell(split, True, model): count for (model, split), count in (asked or {}).items()}
    return Verdicts(found, models, asked=cells).rows()


def histograms(found: list[Verdict], models: list[str]) -> list[Histogram]:
    return Verdicts(found, models).histograms()


def data(found: list[Verdict] | None = None, **changes: Any) -> ReportData:
    """A report of two models on two splits."""
    found = verdicts("base", "tuned") if found is None else found
    whole = ReportData(
        title="runs/one",
        rows=table_rows(found, ["base", "tuned"]),
        histograms=histograms(found, ["base", "tuned"]),
        coverage=Coverage(
            papers=6,
            papers_parsed=5,
            papers_failed={"encrypted": 1},
            chunks=21,
            questions=1234,
            pairs=40,
            examples=39,
            train=30,
            val=9,
            evaluated=18,
        ),
        jobs=[
            JobSummary(job="parse", inputs=6, rows=21, failures={"encrypted": 1}, usage=Usage()),
            JobSummary(
                job="ask",
                inputs=21,
                rows=40,
                failures={},
                usage=Usage(requests=21, prompt_tokens=9000, completion_tokens=800, cost_usd=1.25),
                priced=True,
            ),
        ],
        failures=[Failure(job="parse", kind="encrypted", id="0a", reason="needs a password", paper="/p/x.pdf")],
        models={"base": "small-1", "tuned": "small-1-tuned", "judge": "large-2"},
    )
    return msgspec.structs.replace(whole, **changes)


def page(report: ReportData) -> str:
    return report_html(report).decode("utf-8")


def test_rows_stand_validation_first_and_base_first() -> None:
    """One row a model and split; what the tuned model did not see comes first."""
    names = [row.name for row in table_rows(verdicts("tuned", "base"), ["base", "tuned"])]
    assert names == ["base, validation", "tuned, validation", "base, training", "tuned, training"]


def test_a_split_that_nobody_was_asked_about_has_no_row() -> None:
    """Only splits with verdicts are in the table, and a model without any there shows that it has none."""
    rows = table_rows([verdict("base", "val", 4.0, 0.9)], ["base", "tuned"])
    assert [(row.model, row.split, row.correctness.scored) for row in rows] == [("base", "val", 1), ("tuned", "val", 0)]
    assert table_rows([], ["base"]) == []


def test_an_unscored_cell_costs_only_itself() -> None:
    """A verdict without correctness keeps its similarity, and the total says that one is missing."""
    row = table_rows([verdict("base", "val", None, 0.5), verdict("base", "val", 3.0, 0.7, 1)], ["base"])[0]
    assert (row.correctness.mean, row.correctness.scored, row.correctness.total) == (3.0, 1, 2)
    assert (row.semantic_similarity.mean, row.semantic_similarity.scored) == (0.6, 2)


def test_answers_without_a_verdict_count_in_the_total() -> None:
    """Where answering or judging failed there is no verdict; the table still tells how many were asked for."""
    row = table_rows([verdict("base", "val", 3.0, 0.7)], ["base"], asked={("base", "val"): 5})[0]
    assert (row.correctness.scored, row.correctness.total, row.semantic_similarity.total) == (1, 5, 5)


def test_histograms_count_every_score_once() -> None:
    """Each scored answer is in one bin, half points in the bin around them, and outliers in the outer bins."""
    found = [verdict("base", "val", score, similarity, pair) for pair, (score, similarity) in enumerate(
        [(1.0, -0.2), (4.5, 1.0), (4.5, 0.93), (5.0, None), (None, 0.91)]
    )]  # fmt: skip
    correctness, similarity = histograms(found, ["base"])
    assert correctness.counts == [1, 0, 0, 0, 0, 0, 0, 2, 1]
    assert correctness.edges[7:9] == [4.25, 4.75]
    assert similarity.counts == [1] + [0] * 17 + [2, 1]


def test_results_json_has_its_contract() -> None:
    """The rows hold exactly the fields that users rely on, beside usage, failures and coverage."""
    found = [msgspec.structs.replace(each, scores={"token_f1": 0.5}) for each in verdicts("base", "tuned")]
    results = json.loads(results_json(data(found)))
    assert list(results)[:6] == ["rows", "usage", "failures", "coverage", "models", "judge_note"]
    assert list(results)[6:] == ["differences", "retrieval_effects", "retrieval", "judge_noise", "preferences"]
    for row in results["rows"]:
        assert list(row)[:5] == ["name", "model", "split", "correctness", "semantic_similarity"]
        assert list(row)[5:] == ["retrieval", "papers", "token_f1"]
        assert list(row["token_f1"]) == list(row["correctness"])
        assert list(row["correctness"]) == ["mean", "low", "high", "scored", "total"]
    assert results["failures"] == {"total": 1, "jobs": {"parse": {"encrypted": 1}}}
    assert results["usage"]["total"] == {
        "requests": 21,
        "prompt_tokens": 9000,
        "completion_tokens": 800,
        "cost_usd": 1.25,
    }
    assert results["coverage"]["papers_failed"] == {"encrypted": 1}


def test_the_same_answers_give_the_same_bytes() -> None:
    """Neither file depends on the time, on a random number, or on anything but the data."""
    assert results_json(data()) == results_json(data())
    assert report_html(data()) == report_html(data())


def test_a_cost_that_is_not_known_is_null_and_said() -> None:
    """Without a price there is no figure: null in the file, a plain statement on the page."""
    free, paid = data().jobs
    job = msgspec.structs.replace(paid, priced=False, usage=Usage(requests=21, prompt_tokens=9000))
    report = data(jobs=[free, job])
    results = json.loads(results_json(report))
    assert results["usage"]["jobs"]["ask"]["cost_usd"] is None
    assert results["usage"]["total"]["cost_usd"] is None
    assert "no price configured" in page(report)
    assert "$" not in Reader(page(report)).text


def test_a_sum_of_known_and_unknown_costs_is_a_lower_bound() -> None:
    """When some job has no price, the total says "at least"."""
    jobs = [*data().jobs, JobSummary(job="judge", inputs=1, rows=1, failures={}, usage=Usage(requests=1))]
    assert "at least $1.25" in Reader(page(data(jobs=jobs))).text


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202egnp\x00\x1b[31m\ud800"


def evil() -> ReportData:
    failure = Failure(job=EVIL, kind=EVIL, id=EVIL, reason=EVIL, paper=EVIL)
    job = JobSummary(job=EVIL, inputs=1, rows=0, failures={EVIL: 1}, usage=Usage(requests=1))
    found = [verdict(EVIL, EVIL, 3.0, 0.9)]
    return ReportData(
        title=EVIL,
        rows=table_rows(found, [EVIL]),
        histograms=histograms(found, [EVIL]),
        coverage=msgspec.structs.replace(data().coverage, papers_failed={EVIL: 1}),
        jobs=[job],
        failures=[failure],
        models={"base": EVIL, "judge": EVIL, EVIL: EVIL},
        judge_note=EVIL,
        settings={EVIL: {EVIL: EVIL}},
    )


def test_text_from_outside_stays_text() -> None:
    """Whatever a paper, a file name or a model says, the page gets no tag and no attribute from it."""
    reader = Reader(page(evil()))
    names = {tag for tag, _ in reader.tags}
    assert not names & {"script", "img", "iframe", "object", "link", "form"}
    assert all(link.startswith("#") for link in reader.links)
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in reader.text
    assert reader.open == []


def test_characters_that_hide_what_is_said_are_shown() -> None:
    """Control characters, lone surrogates and reversals of the text become the replacement character."""
    html = page(evil())
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\ud800-\udfff]", html)
    assert "\ufffd" in html
    assert html.count("<bdi>") > 5


def test_the_page_needs_nothing_from_outside() -> None:
    """No address, no import, no script: the page says so itself to the browser. Links lead to its own parts."""
    html = page(data())
    assert not re.search(r"""https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=(?!"#[a-z-]+")""", html)
    policy = next(tag for tag in Reader(html).tags if tag[1].get("http-equiv") == "Content-Security-Policy")
    assert policy[1]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_shows_the_table() -> None:
    """Means, intervals and counts stand on the page as they stand in results.json."""
    report = data()
    text = Reader(page(report)).text
    for row in report.rows:
        mean = row.correctness
        assert (
            f"{row.model} {mean.mean:.2f} {mean.low:.2f} to {mean.high:.2f} {mean.scored}/{mean.total} scored" in text
        )
    assert text.index("validation 9 questions: read nothing into this") < text.index("training 9 questions")


def test_the_page_says_when_the_judge_is_a_demo() -> None:
    """The note stands in the head of the correctness column, before the figures."""
    text = Reader(page(data(judge_note=JUDGE_NOTE))).text
    assert f"Correctness {JUDGE_NOTE} Semantic similarity" in text
    assert "1 to 5, given by the judge" not in text
    assert "1 to 5, given by the judge" in Reader(page(data())).text


def test_a_run_without_evaluation_has_a_report() -> None:
    """Without verdicts there is no table, and coverage and jobs are still shown."""
    report = data(found=[])
    text = Reader(page(report)).text
    assert "Nothing was evaluated" in text
    assert "papers found 6" in text
    assert json.loads(results_json(report))["rows"] == []
    assert "Nothing was evaluated" in printed(report)


def test_an_unscored_row_is_shown_as_such() -> None:
    """A row in which nothing could be scored has a count and no bar."""
    report = data(found=[verdict("base", "val", None, 0.9)])
    assert "base not scored 0/1" in Reader(page(report)).text


def test_batches_are_on_the_page_alone() -> None:
    """The page has a line for each state of batches; results.json has none, since they change no answer."""
    found = BatchesInState(
        state="<b>fetched",
        live=False,
        batches=3,
        rows=120_000,
        done=119_990,
        failed=10,
        oldest_s=7320,
        window_s=86_400,
        reserved_usd=0,
        paid_usd=1.5,
    )
    shown = page(data(batches=[found]))
    assert "<h2>Batches</h2>" in shown
    assert "&lt;b&gt;fetched" in shown
    assert all(words in shown for words in ("120,000", "2 h 02 min", "$1.5000"))
    assert "<h2>Batches</h2>" not in page(data())
    assert results_json(data(batches=[found])) == results_json(data())


def test_long_lists_of_failures_are_cut_and_counted() -> None:
    """At most twenty failures of one job and kind are listed, and the rest are counted."""
    job = JobSummary(job="parse", inputs=90, rows=0, failures={"encrypted": 25, "damaged": 3}, usage=Usage())
    failures = [Failure(job="parse", kind="encrypted", id=str(n), reason=f"reason {n};") for n in range(25)]
    text = Reader(page(data(jobs=[job], failures=failures))).text
    assert "reason 19;" in text
    assert "reason 20;" not in text
    assert "and 5 more" in text
    assert "3, not listed" in text


def test_settings_are_listed_by_section() -> None:
    """Each setting stands under the dotted name of its section; long values are whole, and wrap."""
    long = "word " * 300
    nested = {"models": {"candidates": {"rival": {"prefix": "", "prompt": long}}}}
    assert f"models.candidates.rival prefix empty prompt {long.strip()}" in Reader(page(data(settings=nested))).text
    text = Reader(page(data(settings={"seed": 0, "ask": {"max_questions": None, "questions_per_chunk": 2}}))).text
    assert "seed 0 ask max_questions not set questions_per_chunk 2" in text


def circles(html: str) -> Iterator[float]:
    for place in re.findall(r'<circle cx="([\d.]+)%"', html):
        yield float(place)


@given(st.lists(st.tuples(st.floats(1, 5), st.floats(-1, 1)), min_size=1, max_size=8))
def test_every_mean_has_its_place_on_its_axis(scores: list[tuple[float, float]]) -> None:
    """Whatever the scores are, the page is drawn and each dot lies where its value is between the outer ticks."""
    found = [verdict("base", "val", *score, pair=pair) for pair, score in enumerate(scores)]
    report = data(found=found, histograms=[])
    mean = report.rows[0].correctness.mean
    assert mean is not None
    places = list(circles(page(report)))
    assert places[0] == pytest.approx((mean - 1) / 4 * 100, abs=0.01)
    assert all(0 <= place <= 100 for place in places)
    bars = [part for part in page(report).replace("−", "-").split("</svg>") if 'class="bar ' in part]
    ticks = re.findall(r'middle">([-\d.]+)</text>', bars[1])
    similarity = report.rows[0].semantic_similarity
    assert float(ticks[0]) <= similarity.low <= similarity.high <= float(ticks[-1])  # type: ignore[operator]


def printed(report: ReportData, *, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    print_table(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_is_plain_text_without_a_terminal() -> None:
    """In a file or a pipe there are columns of plain characters, and lines are never folded."""
    out = printed(data(judge_note=JUDGE_NOTE * 3))
    assert "┃" not in out
    first = re.split("  +", out.splitlines()[1])
    assert re.fullmatch(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\] 9/9", first[1])
    assert f"correctness: {JUDGE_NOTE * 3}" in out.splitlines()


def test_the_table_is_drawn_on_a_terminal() -> None:
    """On a terminal the same cells stand in a drawn table."""
    out = printed(data(), terminal=True)
    assert "┃" in out
    assert "base, validation" in out


def test_a_terminal_shows_what_fits() -> None:
    """Metrics that are too wide, rows and lines that are too many are left to the report, and counted; a pipe has all."""
    found = [
        msgspec.structs.replace(each, scores={f"metric_{number}": 0.5 for number in range(9)}, split=split)
        for split in ("val", "train", *(f"side {number}" for number in range(9)))
        for each in verdicts("base", "tuned", "third")
    ]
    made = Verdicts(found, ["base", "tuned", "third"])
    report = data(rows=made.rows(), differences=made.differences())
    out = printed(report, terminal=True)
    drawn = [line for line in out.splitlines() if line[:1] in "┏┃┡│└"]
    assert len(drawn) == 8
    assert max(map(len, drawn)) <= 100
    assert "in the report: 7 more metrics, 29 more rows, 39 more lines" in out
    assert "Metric 8" in printed(report)
    assert "in the report" not in printed(report)


def test_names_are_not_markup() -> None:
    """Square brackets in a model's name are printed as they are."""
    found = [verdict("[red]x[/]", "val", 3.0, 0.9)]
    report = data(rows=table_rows(found, ["[red]x[/]"]))
    assert "[red]x[/], validation" in printed(report, terminal=True)
    assert "[red]x[/], validation" in printed(report)


def test_both_files_are_written(tmp_path: Path) -> None:
    """The folder ends with the two files and nothing temporary."""
    write_report(data(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]
    assert (tmp_path / "results.json").read_bytes() == results_json(data())
