from __future__ import annotations

from pathlib import Path

import pytest
from served_run import sealed_run

from jobs.serve.committed import Committed
from jobs.serve.pair_lines import PairLines, PairQuery


def lines(folder: Path) -> PairLines:
    return PairLines({name: Committed(dataset) for name, dataset in sealed_run(folder).datasets().items()})


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
    assert (third.decision, third.critic) == ("too_short", None)


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
