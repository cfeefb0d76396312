from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import statistics
from jobs.statistics import Mean, bootstrap_mean


def test_nothing_scored_has_no_mean() -> None:
    """With no score at all there is no mean and no interval, and the total is still told."""
    assert bootstrap_mean([None, None], ["a", "b"]) == Mean(mean=None, low=None, high=None, scored=0, total=2)
    assert bootstrap_mean([], []) == Mean(mean=None, low=None, high=None, scored=0, total=0)


def test_unscored_values_are_counted_and_not_averaged() -> None:
    """A value that is None or not a number never counts as zero: it only raises the total."""
    found = bootstrap_mean([4.0, None, 2.0, float("nan")], ["a", "a", "b", "c"])
    assert (found.mean, found.scored, found.total) == (3.0, 2, 4)


def test_one_value_is_its_own_interval() -> None:
    """A single score has nothing to vary with."""
    assert bootstrap_mean([2.5], ["a"]) == Mean(mean=2.5, low=2.5, high=2.5, scored=1, total=1)


def test_values_are_drawn_when_only_one_paper_was_scored() -> None:
    """With one cluster the interval comes from the items, so it is not a point."""
    found = bootstrap_mean([1.0, 2.0, 3.0, 4.0, 5.0, None], ["a"] * 5 + ["b"])
    assert found.low is not None
    assert found.high is not None
    assert 1.0 < found.low < 3.0 < found.high < 5.0


def test_equal_answers_in_a_paper_count_once() -> None:
    """Repeating every score of a paper ten times adds no certainty: the interval stays as it was."""
    scores = [1.0, 2.0, 4.0, 5.0]
    papers = ["a", "b", "c", "d"]
    once = bootstrap_mean(scores, papers)
    often = bootstrap_mean(scores * 10, papers * 10)
    assert (often.mean, often.low, often.high) == (once.mean, once.low, once.high)


def test_every_paper_can_be_drawn_alone() -> None:
    """Of two papers, a quarter of the draws holds only the first and a quarter only the second."""
    found = bootstrap_mean([1.0, 5.0], ["a", "b"])
    assert (found.low, found.mean, found.high) == (1.0, 3.0, 5.0)


def test_large_papers_keep_their_weight() -> None:
    """The mean is over values and not over papers."""
    assert bootstrap_mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]).mean == 2.0


def test_the_seed_decides() -> None:
    """The same seed gives the same interval; another seed may give another."""
    values = list(np.random.default_rng(3).normal(size=60))
    papers = [str(number % 12) for number in range(60)]
    assert bootstrap_mean(values, papers, seed=1) == bootstrap_mean(values, papers, seed=1)
    assert bootstrap_mean(values, papers, seed=1) != bootstrap_mean(values, papers, seed=2)


def test_drawing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held in memory at once does not show in the interval."""
    values = list(np.random.default_rng(4).normal(size=90))
    papers = [str(number % 31) for number in range(90)]
    whole = bootstrap_mean(values, papers)
    monkeypatch.setattr(statistics, "_BLOCK", 100)
    assert bootstrap_mean(values, papers) == whole


def test_a_value_without_a_paper_is_an_error() -> None:
    """Values and clusters of different lengths are a mistake of the caller."""
    with pytest.raises(ValueError, match="zip"):
        bootstrap_mean([1.0, 2.0], ["a"])


def test_figures_have_four_decimals() -> None:
    """Means are rounded, so that they are the same bytes on every machine."""
    found = bootstrap_mean([1.0, 2.0, 2.0], ["a", "b", "c"])
    assert found.mean == 1.6667


SCORES = st.lists(
    st.tuples(st.none() | st.floats(-1, 5), st.sampled_from(["a", "b", "c", "d"])), min_size=1, max_size=30
)


@given(SCORES)
def test_the_interval_lies_among_the_scores(pairs: list[tuple[float | None, str]]) -> None:
    """Whatever the scores are, low ≤ high, both lie between the least and the greatest, and the counts are true."""
    values = [value for value, _ in pairs]
    found = bootstrap_mean(values, [paper for _, paper in pairs], resamples=200)
    scored = [value for value in values if value is not None]
    assert (found.scored, found.total) == (len(scored), len(values))
    if scored:
        assert found.low is not None
        assert found.high is not None
        assert min(scored) - 1e-4 <= found.low <= found.high <= max(scored) + 1e-4


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """On simulated papers with their own difficulty, the 95 % interval covers the true mean nearly so often, and one
    that ignores papers does not."""
    random = np.random.default_rng(5)
    papers = [str(number // 8) for number in range(320)]
    covered = naive = 0
    for _ in range(120):
        values = 3 + np.repeat(random.normal(0, 1, 40), 8) + random.normal(0, 0.5, 320)
        found = bootstrap_mean(values.tolist(), papers, resamples=500)
        alone = bootstrap_mean(values.tolist(), [str(number) for number in range(320)], resamples=500)
        assert found.low is not None
        assert found.high is not None
        assert alone.low is not None
        assert alone.high is not None
        covered += found.low <= 3 <= found.high
        naive += alone.low <= 3 <= alone.high
    assert 0.89 <= covered / 120 <= 0.99
    assert naive / 120 < 0.7
