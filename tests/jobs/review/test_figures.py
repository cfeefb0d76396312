from __future__ import annotations

from pathlib import Path

import pytest
from decided import about
from hypothesis import given
from hypothesis import strategies as st
from samples import pair, sealed

from jobs.records import Pair
from jobs.review.figures import ReviewFigures, review_figures, sentence, wilson
from jobs.review.log import ReviewLog
from jobs.run.folder import RunFolder

PAIRS = [pair(f"pair-{number}", chunk="c") for number in range(8)]


def figures(run: Path) -> ReviewFigures:
    folder = RunFolder(run)
    return review_figures(folder, folder.datasets())


def test_figures_are_of_pairs_that_exist_and_were_kept(tmp_path: Path) -> None:
    """Only pairs drawn at random bound the share of all; decisions about pairs that are gone count no more."""
    sealed(tmp_path / "pairs", Pair, PAIRS[:6], PAIRS[6:])
    log = ReviewLog(tmp_path / "reviews")
    for made in (
        about(PAIRS[0], queue="random"),
        about(PAIRS[1], queue="random"),
        about(PAIRS[2], "edit", answer="Better.", queue="random"),
        about(PAIRS[3], "reject", queue="critic"),
        about(PAIRS[4], refused="too_short"),
        about(pair("gone", chunk="c"), "reject", queue="random"),
    ):
        log.append(0, made)
    log.append(1, about(PAIRS[6], "reject", queue="random"))
    found = figures(tmp_path)
    assert (found.reviewed, found.accepted, found.edited, found.rejected, found.rescued) == (5, 2, 1, 2, 1)
    assert (found.sampled, found.sampled_accepted) == (4, 2)
    assert (found.low, found.high) == wilson(2, 4)
    assert "5 pairs reviewed: 2 accepted, 1 edited, 2 rejected; 50% of the 4 drawn at random" in sentence(found)


def test_a_run_without_reviews_says_nothing(tmp_path: Path) -> None:
    """No sentence and no interval."""
    found = figures(tmp_path)
    assert found == ReviewFigures()
    assert sentence(found) == ""


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_as_published(part: int, whole: int, low: float, high: float) -> None:
    """The bounds are those of published tables (Newcombe 1998, table I: 81 of 263 and 0 of 10 alike)."""
    assert wilson(part, whole) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10**6).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_wilson_holds_the_share(counts: tuple[int, int]) -> None:
    """The interval holds the share and stays between 0 and 1; turning accept and reject around mirrors it."""
    part, whole = counts
    low, high = wilson(part, whole)
    assert 0 <= low <= part / whole + 1e-4
    assert part / whole - 1e-4 <= high <= 1
    assert wilson(whole - part, whole) == pytest.approx((1 - high, 1 - low), abs=1e-4)
