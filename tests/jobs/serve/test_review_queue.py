from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from reviewable import reviewable
from served import site

from jobs.serve.review_queue import QueueAsked, Ref, queue_of

KEPT = {f"pair-{number}" for number in range(60) if number % 10 != 9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewable(tmp_path_factory.mktemp("run"), 60).path


def drawn(run: Path, **asked: int | str) -> list[Ref]:
    return queue_of(site(run), QueueAsked(**asked))  # type: ignore[arg-type]


def test_a_random_sample_is_of_kept_pairs_and_of_its_seed(run: Path) -> None:
    """The same seed draws the same pairs, none twice, none that was refused; a longer queue begins with a shorter one."""
    found = drawn(run, size=20)
    assert len(set(found)) == 20
    assert {ref.pair_id for ref in found} < KEPT
    assert found == drawn(run, size=20)
    assert found == drawn(run, size=1000)[:20]
    assert found != drawn(run, size=20, seed=1)
    assert {ref.pair_id for ref in drawn(run, size=1000)} == KEPT
    assert all(int(ref.pair_id[5:]) // 10 == ref.shard for ref in found)


def test_each_pair_is_as_likely_as_any_other(run: Path) -> None:
    """Over many seeds the first pair of the queue is each kept pair about as often."""
    of = site(run)
    first = Counter(queue_of(of, QueueAsked(size=1, seed=seed))[0].pair_id for seed in range(1080))
    assert first.keys() == KEPT
    expected = 1080 / len(KEPT)
    assert sum((count - expected) ** 2 / expected for count in first.values()) < 99, "chi-square, 53 degrees, 0.01 %"


def test_the_lowest_by_the_critic_come_first(run: Path) -> None:
    """Kept pairs in the order of their lowest rating."""
    ratings = [1 + int(ref.pair_id[5:]) % 5 for ref in drawn(run, kind="critic", size=30)]
    assert ratings == sorted(ratings)
    assert ratings[:12] == [1] * 12


def test_one_of_each_paper(run: Path) -> None:
    """Every paper with a kept pair once; the seed says which of its pairs, and in which order."""
    found = drawn(run, kind="paper", size=1000)
    assert sorted(int(ref.pair_id[5:]) // 2 for ref in found) == list(range(30))
    assert {ref.pair_id for ref in found} < KEPT
    assert found == drawn(run, kind="paper", size=1000)
    assert found != drawn(run, kind="paper", size=1000, seed=5)


def test_a_run_without_curation(tmp_path: Path) -> None:
    """All its pairs may be drawn."""
    reviewable(tmp_path, 20, curated=False)
    assert len(drawn(tmp_path)) == 20
    assert len(drawn(tmp_path, kind="critic")) == 20


def test_a_run_without_pairs(tmp_path: Path) -> None:
    """Each queue is empty."""
    assert [drawn(tmp_path, kind=kind) for kind in ("random", "critic", "paper")] == [[], [], []]
