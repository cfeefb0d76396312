from __future__ import annotations

from pathlib import Path

import pytest
from served_run import sealed_run

from jobs.records import Review, Wording
from jobs.review.log import ReviewLog
from jobs.serve.committed import Committed
from jobs.serve.pair_lines import PairLines
from jobs.serve.pair_marks import PairQuery


def lines(folder: Path) -> PairLines:
    run = sealed_run(folder)
    reviews = ReviewLog(run.reviews)
    for pair_id, decision in (("p2", "reject"), ("p3", "edit")):
        reviews.append(0, _review(pair_id, decision))
    return PairLines({name: Committed(dataset) for name, dataset in run.datasets().items()}, reviews)


def _review(pair_id: str, decision: str, undoes: str = "") -> Review:
    words = Wording(question="", answer="")
    return Review(
        id="", parent=pair_id, pair_id=pair_id, decision=decision, who="me", when="", before=words, undoes=undoes
    )


def test_the_line_of_a_pair(tmp_path: Path) -> None:
    """A line has the pair, what was decided, the lowest scores of critic and judge, and the jobs that have rows of it."""
    first, second, third = lines(tmp_path).page(PairQuery(), 0, 50, 0)[0]
    assert (first.pair.question, first.decision, first.critic, first.judge) == (
        "Why does the mill grind?",
        "kept",
        4,
        2.5,
    )
    assert first.jobs == ("curate", "critique", "augment", "respond", "judge")
    assert (second.critic, second.judge, second.jobs) == (2, None, ("curate", "critique"))
    assert (third.decision, third.critic, third.review and third.review.decision) == ("too_short", None, "edit")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (PairQuery(text="the MILL"), ["p1"]),
        (PairQuery(text="answer of"), ["p1", "p2", "p3"]),
        (PairQuery(text='"'), []),
        (PairQuery(decision="kept"), ["p1", "p2"]),
        (PairQuery(decision="refused"), ["p3"]),
        (PairQuery(decision="too_short"), ["p3"]),
        (PairQuery(decision="no such reason"), []),
        (PairQuery(split="val"), ["p2"]),
        (PairQuery(reviewed="yes"), ["p2", "p3"]),
        (PairQuery(reviewed="no"), ["p1"]),
        (PairQuery(reviewed="edit"), ["p3"]),
        (PairQuery(reviewed="accept"), []),
        (PairQuery(job="judge"), ["p1"]),
        (PairQuery(job="critique", decision="kept", text="p2"), ["p2"]),
        (PairQuery(critic=3), ["p2"]),
        (PairQuery(judge=3), ["p1"]),
        (PairQuery(judge=2), []),
        (PairQuery(order="critic"), ["p2", "p1", "p3"]),
        (PairQuery(order="judge"), ["p1", "p2", "p3"]),
    ],
)
def test_search_filter_and_order(tmp_path: Path, query: PairQuery, ids: list[str]) -> None:
    """Each question of the form is answered from all shards, and each together with others."""
    assert [line.pair.id for line in lines(tmp_path).page(query, 0, 50, 60)[0]] == ids


def test_a_search_says_how_far_it_is(tmp_path: Path) -> None:
    """What was found so far is shown, with the share of the shards that were looked at; the next look goes further."""
    pairs = lines(tmp_path)
    page, total, looked = pairs.page(PairQuery(text="answer"), 0, 2, 0)
    assert ([line.pair.id for line in page], total) == (["p1", "p2"], 3)
    assert (looked.seen, looked.total) == (1, 2)
    assert pairs.page(PairQuery(text="answer"), 0, 2, 0)[2].whole


def test_what_is_decided_later_is_seen(tmp_path: Path) -> None:
    """Where curation seals a shard again, its pairs are filtered by the new decisions."""
    pairs = lines(tmp_path)
    assert len(pairs.page(PairQuery(decision="kept"), 0, 50, 60)[0]) == 2
    (tmp_path / "curated" / "00000.done.json").unlink()
    assert len(pairs.page(PairQuery(decision="undecided"), 0, 50, 60)[0]) == 3
