from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.report import intervals as statistics
from jobs.report.intervals import Mean, mean, paired_difference


def test_nothing_scored_has_no_mean() -> None:
    """With no score at all there is no mean and no interval, and the total is still told."""
    assert mean([None, None], ["a", "b"]) == Mean(mean=None, low=None, high=None, scored=0, total=2)
    assert mean([], []) == Mean(mean=None, low=None, high=None, scored=0, total=0)


def test_unscored_values_are_counted_and_not_averaged() -> None:
    """A value that is None or not a number never counts as zero: it only raises the total."""
    found = mean([4.0, None, 2.0, float("nan")], ["a", "a", "b", "c"])
    assert (found.mean, found.scored, found.total) == (3.0, 2, 4)


def test_one_value_is_its_own_interval() -> None:
    """A single score has nothing to vary with."""
    assert mean([2.5], ["a"]) == Mean(mean=2.5, low=2.5, high=2.5, scored=1, total=1)


def test_values_are_drawn_when_only_one_paper_was_scored() -> None:
    """With one cluster the interval comes from the items, so it is not a point."""
    found = mean([1.0, 2.0, 3.0, 4.0, 5.0, None], ["a"] * 5 + ["b"])
    assert found.low is not None
    assert found.high is not None
    assert 1.0 < found.low < 3.0 < found.high < 5.0


def test_equal_answers_in_a_paper_count_once() -> None:
    """Repeating every score of a paper ten times adds no certainty: the interval stays as it was."""
    scores = [1.0, 2.0, 4.0, 5.0]
    papers = ["a", "b", "c", "d"]
    once = mean(scores, papers)
    often = mean(scores * 10, papers * 10)
    assert (often.mean, often.low, often.high) == (once.mean, once.low, once.high)


def test_two_papers_say_next_to_nothing() -> None:
    """With one degree of freedom the interval is as wide as the scale, and is cut there."""
    found = mean([2.0, 4.0], ["a", "b"], bounds=(1, 5))
    assert (found.low, found.mean, found.high) == (1.0, 3.0, 5.0)


def test_few_papers_are_held_to_student() -> None:
    """Up to nine papers of one size have the textbook's t interval: of 1, 2, 3 it is 2 ± 4.3027 / √3."""
    found = mean([1.0, 2.0, 3.0], ["a", "b", "c"])
    assert (found.low, found.high) == (-0.4842, 4.4842)


def test_large_papers_keep_their_weight() -> None:
    """The mean is over values and not over papers."""
    assert mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]).mean == 2.0


def test_the_seed_decides() -> None:
    """The same seed gives the same interval; another seed may give another."""
    values = list(np.random.default_rng(3).normal(size=60))
    papers = [str(number % 12) for number in range(60)]
    assert mean(values, papers, seed=1) == mean(values, papers, seed=1)
    assert mean(values, papers, seed=1) != mean(values, papers, seed=2)


def test_drawing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held in memory at once does not show in the interval."""
    values = list(np.random.default_rng(4).normal(size=90))
    papers = [str(number % 31) for number in range(90)]
    whole = mean(values, papers)
    monkeypatch.setattr(statistics, "_BLOCK", 100)
    assert mean(values, papers) == whole


def test_a_value_without_a_paper_is_an_error() -> None:
    """Values and clusters of different lengths are a mistake of the caller."""
    with pytest.raises(ValueError, match="zip"):
        mean([1.0, 2.0], ["a"])


def test_figures_have_four_decimals() -> None:
    """Means are rounded, so that they are the same bytes on every machine."""
    found = mean([1.0, 2.0, 2.0], ["a", "b", "c"])
    assert found.mean == 1.6667


SCORES = st.lists(
    st.tuples(st.none() | st.floats(-1, 5), st.sampled_from([str(paper) for paper in range(15)])),
    min_size=1,
    max_size=40,
)


@given(SCORES)
def test_the_interval_holds_the_mean_and_keeps_to_the_scale(pairs: list[tuple[float | None, str]]) -> None:
    """Whatever the scores are, low ≤ mean ≤ high, both ends lie on the scale, and the counts are true."""
    values = [value for value, _ in pairs]
    found = mean(values, [paper for _, paper in pairs], bounds=(-1, 5), resamples=200)
    scored = [value for value in values if value is not None]
    assert (found.scored, found.total) == (len(scored), len(values))
    if scored:
        assert found.low is not None
        assert found.mean is not None
        assert found.high is not None
        assert -1 <= found.low <= found.mean + 1e-4
        assert found.mean - 1e-4 <= found.high <= 5


def test_papers_without_spread_have_no_wild_interval() -> None:
    """Where nearly all papers agree, draws without any spread do not make the interval as wide as the scale."""
    found = mean([0.0] * 19 + [1.0], [str(paper) for paper in range(20)], bounds=(0, 1))
    assert found.low == 0.0
    assert found.high is not None
    assert 0.1 < found.high < 0.3


def test_all_hits_are_not_certainty() -> None:
    """Where every score is at the end of its scale, the interval is what so many papers could just hide."""
    papers = [str(paper) for paper in range(20)]
    found = mean([1.0] * 20, papers, bounds=(0, 1))
    assert (found.low, found.high) == (0.8316, 1.0)
    assert mean([0.0] * 20, papers, bounds=(0, 1)).high == 0.1684
    assert mean([0.5] * 20, papers, bounds=(0, 1)).high == 0.5


def test_a_pair_counts_when_both_were_scored() -> None:
    """A question that one of the two models has no score for is in the total and in nothing else."""
    found = paired_difference([(4.0, 3.0), (None, 1.0), (5.0, None), (2.0, 2.0)], ["a", "b", "c", "d"])
    assert (found.mean, found.scored, found.total, found.papers) == (0.5, 2, 4, 2)
    assert (found.won, found.tied, found.lost) == (1, 1, 0)


def test_a_difference_too_small_to_mean_anything_is_a_tie() -> None:
    """Only a difference of more than the tie's size is won or lost."""
    found = paired_difference([(0.51, 0.5), (0.6, 0.5), (0.2, 0.5)], ["a", "b", "c"], tie=0.02)
    assert (found.won, found.tied, found.lost) == (1, 1, 1)


def test_pairing_takes_out_what_makes_questions_hard() -> None:
    """A small gain on every question shows, however much the questions differ among themselves."""
    hard = np.random.default_rng(6).normal(3, 1, 40)
    papers = [str(number // 2) for number in range(40)]
    found = paired_difference([(score + 0.1 + 0.01 * (n % 3), score) for n, score in enumerate(hard)], papers)
    assert found.low is not None
    assert found.low > 0.1
    assert found.p is not None
    assert found.p < 0.001


def test_the_permutation_test_is_exact_for_few_papers() -> None:
    """Three papers that all gained: of eight ways to swap, two are as far from 0, so p is a quarter."""
    assert paired_difference([(2.0, 1.0), (3.0, 2.0), (5.0, 4.0)], ["a", "b", "c"]).p == 0.25
    assert paired_difference([(1.0, 1.0), (3.0, 3.0)], ["a", "b"]).p == 1.0


def test_papers_are_swapped_whole() -> None:
    """Ten questions of one paper are one paper's evidence."""
    alone = paired_difference([(2.0, 1.0)] * 3, ["a", "b", "c"])
    often = paired_difference([(2.0, 1.0)] * 30, ["a", "b", "c"] * 10)
    assert often.p == alone.p == 0.25


def test_nothing_paired_has_no_difference() -> None:
    """Without a single scored pair there is neither a figure nor a p."""
    found = paired_difference([(None, 1.0)], ["a"])
    assert (found.mean, found.p, found.scored, found.total, found.papers) == (None, None, 0, 1, 0)


@pytest.mark.slow
def test_p_is_small_by_chance_as_often_as_it_says() -> None:
    """Where the models are alike, p is below 0.05 in about one comparison of twenty, exact or drawn."""
    random = np.random.default_rng(7)
    for papers in (8, 20):
        names = [str(number // 4) for number in range(papers * 4)]
        small = 0
        for seed in range(200):
            gaps = np.repeat(random.normal(0, 1, papers), 4) + random.normal(0, 1, papers * 4)
            found = paired_difference([(gap, 0.0) for gap in gaps], names, seed=seed, resamples=10)
            assert found.p is not None
            small += found.p < 0.05
        assert 2 <= small <= 20


def ratings(latent: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Half points from 1 to 5, crowded at the top, as judges give them."""
    shares = (0.04, 0.09, 0.15, 0.22, 0.32, 0.45, 0.62, 0.8)
    return 1 + 0.5 * np.searchsorted([NormalDist().inv_cdf(share) for share in shares], latent)


def covered(papers: int, spread: str, trials: int, seed: int) -> tuple[float, float]:
    """How often the interval of a mean and of a paired difference hold the truth, over simulated evaluations.

    Two models answer the same questions; papers and questions differ in difficulty, and papers in their number of
    questions: "even" (five each), "skewed" (1 to 20, mostly few), "single" (one each)."""
    random = np.random.default_rng(seed)
    everything = random.normal(size=2_000_000)
    truth = ratings(everything).mean()
    gain = ratings(everything + 0.4).mean() - truth
    of_mean = of_gain = 0
    for trial in range(trials):
        sizes = {"even": [5] * papers, "single": [1] * papers}.get(
            spread, np.minimum(1 + random.geometric(0.25, papers), 20)
        )
        names = np.repeat(np.arange(papers), sizes).astype(str).tolist()
        shared = np.repeat(random.normal(0, 0.5, papers), sizes) + random.normal(0, 0.5, len(names))
        base = ratings(shared + random.normal(0, 0.5**0.5, len(names)))
        own = np.repeat(random.normal(0, 0.3, papers), sizes) + random.normal(0, 0.41**0.5, len(names))
        tuned = ratings(shared + own + 0.4)
        found = mean(base.tolist(), names, bounds=(1, 5), seed=trial)
        paired = paired_difference(
            list(zip(tuned.tolist(), base.tolist(), strict=True)), names, bounds=(1, 5), seed=trial
        )
        of_mean += found.low <= truth <= found.high  # type: ignore[operator]
        of_gain += paired.low <= gain <= paired.high  # type: ignore[operator]
    return of_mean / trials, of_gain / trials


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """A quick look at few and at many papers; the soak test below holds the figure."""
    for papers in (3, 12):
        for share in covered(papers, "skewed", 200, seed=papers):
            assert 0.89 <= share <= 0.99


def test_questions_of_a_paper_are_not_independent() -> None:
    """An interval that ignores papers covers the truth far less often than it says."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        values = 3 + np.repeat(random.normal(0, 1, 40), 8) + random.normal(0, 0.5, 320)
        naive = mean(values.tolist(), [str(number) for number in range(320)], resamples=200)
        covered += naive.low <= 3 <= naive.high  # type: ignore[operator]
    assert covered < 70


@pytest.mark.soak
@pytest.mark.parametrize("spread", ["even", "skewed", "single"])
@pytest.mark.parametrize("papers", [10, 20, 35, 50])
def test_95_per_cent_is_95_per_cent(papers: int, spread: str) -> None:
    """On skewed ratings from 1 to 5, clustered by paper, with a known difference: 93 to 97 of a hundred intervals
    hold the truth, both the mean's and the paired difference's."""
    of_mean, of_gain = covered(papers, spread, 4000, seed=papers)
    print(f"{papers} papers, {spread}: mean {of_mean:.3f}, difference {of_gain:.3f}")
    assert 0.93 <= of_mean <= 0.97
    assert 0.93 <= of_gain <= 0.97
