from __future__ import annotations

import msgspec
import pytest
from report_sample import sample
from test_data import data, verdict

from jobs.report.data import ReportData
from jobs.report.headline import headline
from jobs.report.product import Product


def test_what_a_run_came_to() -> None:
    """The pairs, then each model against the first with its interval, by rules that are the same for both ways."""
    assert headline(sample()) == (
        "2,255 of 2,480 pairs kept, from 14 papers. On validation questions, by correctness: tuned is clearly better than "
        "base (+0.31, 95 % interval +0.08 to +0.60); no clear difference between a-rather-long-candidate-name-7b-instruct "
        "and base (−0.18, 95 % interval −0.46 to +0.10)."
    )


def test_a_handful_of_questions_decides_nothing() -> None:
    """Few questions, or few papers, are said to be too few beside every figure."""
    assert "tuned against base tells nothing yet" in headline(sample(questions=3, papers=3))
    assert "3 questions: read nothing into this" in headline(sample(questions=3, papers=3))
    assert "3 papers: too few to tell" in headline(sample(questions=30, papers=3))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "Nothing was evaluated."),
        (
            [verdict("base", "val", 3.0, 0.5)],
            "base scores 3.00 of 5 in correctness (95 % interval 3.00 to 3.00) on 1 validation question (",
        ),
        ([verdict("base", "val", None, 0.5)], "No answer of base to validation questions could be scored."),
    ],
)
def test_a_run_of_one_model(found: list, words: str) -> None:  # type: ignore[type-arg]
    """Without anything to compare with, the model's own score is said, and why there is none."""
    report = data(found)
    rows = [row for row in report.rows if row.model == "base"]
    report = msgspec.structs.replace(report, rows=rows, product=Product(kept=40))
    assert headline(report).startswith("40 pairs made, from 5 papers. ")
    assert words in headline(report)


def test_pairs_from_a_file() -> None:
    """They are called that."""
    report: ReportData = data([])
    coverage = msgspec.structs.replace(report.coverage, papers=0)
    report = msgspec.structs.replace(report, coverage=coverage, product=Product(kept=40))
    assert headline(report) == "40 pairs from a file. Nothing was evaluated."
