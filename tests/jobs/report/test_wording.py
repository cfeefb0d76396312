from __future__ import annotations

from typing import Any

import pytest

from jobs.report.data import Comparison
from jobs.report.intervals import Difference
from jobs.report.wording import chance, figure, reading, sentence, signed, too_few


def difference(**changes: Any) -> Difference:
    whole = {"mean": 0.12, "low": -0.03, "high": 0.27, "scored": 40, "total": 50, "p": 0.11}
    return Difference(**(whole | {"won": 14, "tied": 17, "lost": 9, "papers": 12} | changes))


def test_a_difference_in_one_line() -> None:
    """The line says whose difference, how large, how sure, of how many, and what it comes to."""
    compared = Comparison(
        name="tuned − base, validation",
        model="tuned",
        against="base",
        split="val",
        retrieval=True,
        metrics={"correctness": difference(), "semantic_similarity": difference(mean=None, scored=0)},
    )
    assert sentence(compared, "correctness") == (
        "tuned − base, validation, Correctness: +0.12 [−0.03, +0.27], p = 0.11, "
        "14 won, 9 lost, 17 tied (40/50): no clear difference"
    )
    assert sentence(compared, "semantic_similarity").endswith("nothing to compare (0/50)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 0.01, "p": 0.01}, "clearly higher"),
        ({"mean": -0.12, "low": -0.2, "high": -0.01, "p": 0.01}, "clearly lower"),
        ({"low": 0.01, "p": 0.06}, "a hint at most"),
        ({"p": 0.04}, "a hint at most"),
        ({"low": 0.01, "p": 0.01, "scored": 3}, "3 questions: read nothing into this"),
        ({"low": 0.01, "p": 0.25, "papers": 3}, "3 papers: too few to tell"),
        ({"mean": None}, "nothing to compare"),
    ],
)
def test_what_a_difference_says(changes: dict[str, Any], words: str) -> None:
    """It is clear only when both the interval and the test say so, and never on a handful of questions or papers."""
    assert reading(difference(**changes)) == words


def test_figures() -> None:
    """Correctness has two places and the rest three; a minus is a minus sign; zero has no sign."""
    assert (figure(3.666, "correctness"), figure(-0.1, "semantic_similarity")) == ("3.67", "−0.100")
    assert (signed(0.126, "correctness"), signed(-0.5, "rouge_l")) == ("+0.13", "−0.500")
    assert (signed(0.001, "correctness"), signed(-0.001, "correctness")) == ("0.00", "0.00")
    assert [chance(p) for p in (1.0, 0.114, 0.0131, 0.0001)] == ["p = 1.00", "p = 0.11", "p = 0.013", "p < 0.001"]


def test_a_warning_of_few() -> None:
    """One question or paper is said in the singular, and enough of both need no warning."""
    assert too_few(1, 1) == "1 question: read nothing into this"
    assert too_few(20, 1) == "1 paper: too few to tell"
    assert too_few(20, 6) == ""
