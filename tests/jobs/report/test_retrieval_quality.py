from __future__ import annotations

import msgspec
from samples import response

from jobs.records import Context, Response
from jobs.report.retrieval_quality import retrieval_quality


def asked(pair: str, chunks: list[str], *, model: str = "base", split: str = "val", retrieval: bool = True) -> Response:
    contexts = [Context(chunk_id=chunk, rank=rank, score=0.5) for rank, chunk in enumerate(chunks)]
    return msgspec.structs.replace(
        response(f"{pair}{model}", split=split), pair_id=pair, model=model, contexts=contexts, retrieval=retrieval
    )


def test_the_source_is_looked_for_among_the_contexts() -> None:
    """The first of two, the third and none at all: hit rate 2/3, MRR (1 + 1/3 + 0) / 3, recall by k."""
    responses = [asked("1", ["s", "x", "x"]), asked("2", ["x", "x", "s"]), asked("3", ["x", "x", "x"])]
    (found,) = retrieval_quality(responses, {"1": "s", "2": "s", "3": "s"})
    assert (found.split, found.hit_rate.mean, found.mrr.mean) == ("val", 0.6667, 0.4444)
    assert {cut: each.mean for cut, each in found.recall.items()} == {1: 0.3333, 2: 0.3333, 3: 0.6667}


def test_a_question_counts_once_whoever_answered_it() -> None:
    """Several models' answers to one question are one retrieval, and what was asked alone is none."""
    responses = [asked("1", ["s"]), asked("1", ["s"], model="tuned"), asked("2", [], retrieval=False)]
    (found,) = retrieval_quality(responses, {"1": "s", "2": "s"})
    assert (found.hit_rate.scored, found.hit_rate.total) == (1, 1)


def test_a_question_without_a_known_source_is_unscored() -> None:
    """Questions that were brought along without their chunk say nothing about retrieval."""
    (found,) = retrieval_quality([asked("1", ["x"])], {})
    assert (found.hit_rate.mean, found.hit_rate.scored, found.hit_rate.total) == (None, 0, 1)
    assert retrieval_quality([], {}) == []
