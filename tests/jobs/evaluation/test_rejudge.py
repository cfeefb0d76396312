from __future__ import annotations

from pathlib import Path
from typing import Any

from samples import pair, processed, response, sealed

from engine.errors import Permanent
from engine.job import Job, ShardRows
from engine.testing import scripted
from jobs.evaluation.judge import by_score, judge
from jobs.evaluation.rejudge import rejudge
from jobs.evaluation.sample import Sample
from jobs.records import Pair

RESPONSES = [response("r1"), response("r2", text="Sand."), response("r3")]


async def rejudging(folder: Path, *, sample: int = 3) -> Job:
    pairs = sealed(folder, Pair, [pair(row.pair_id, chunk="c", split="val") for row in RESPONSES])
    job = rejudge(method=by_score, chosen=Sample(pairs, sample, 0), shows=lambda row: True, fingerprint={}, slots=1)
    assert job.prepare is not None
    await job.prepare()
    return job


async def shard(*turns: str) -> ShardRows:
    job = judge(method=by_score, shows=lambda row: True, fingerprint={}, slots=1)
    first = ShardRows(0, {"responses": RESPONSES, "similarities": []})
    return ShardRows(0, {"responses": RESPONSES, "verdicts": await processed(job, first, scripted(*turns))})


async def test_asked_again(tmp_path: Path) -> None:
    """Each answer is judged again by the same request, and the row holds both scores, None where one was unreadable."""
    unreadable = ("Good.", "Fine.", "Yes.")
    first, second = scripted("4", "2", "5"), scripted("3.5", *unreadable, "5")
    job = judge(method=by_score, shows=lambda row: True, fingerprint={}, slots=1)
    rows = ShardRows(0, {"responses": RESPONSES, "similarities": []})
    verdicts = await processed(job, rows, first)
    again = await processed(
        await rejudging(tmp_path), ShardRows(0, {"responses": RESPONSES, "verdicts": verdicts}), second
    )
    assert [(row.first, row.second) for row in again] == [(4, 3.5), (2, None), (5, 5)]
    assert [row.parent for row in again] == [verdict.id for verdict in verdicts]
    assert second.requests[0].messages == first.requests[0].messages


async def test_a_first_score_that_was_unreadable(tmp_path: Path) -> None:
    """An answer without a first score is asked about again all the same, and counts as one that disagrees with nothing."""
    rows = await shard("Good.", "Fine.", "Yes.", "2", "5")
    again: list[Any] = await processed(await rejudging(tmp_path), rows, scripted("3", "2", "5"))
    assert [(row.first, row.second) for row in again] == [(None, 3), (2, 2), (5, 5)]


async def test_the_sample(tmp_path: Path) -> None:
    """So many pairs of each split are judged twice, and a smaller sample is part of a larger one."""
    rows = await shard("4", "2", "5")
    sizes = {}
    for sample in (1, 2, 3):
        made = await processed(
            await rejudging(tmp_path / str(sample), sample=sample), rows, scripted("3", forever=True)
        )
        sizes[sample] = {row.pair_id for row in made}
    assert [len(sizes[sample]) for sample in (1, 2, 3)] == [1, 2, 3]
    assert sizes[1] < sizes[2] < sizes[3]


async def test_a_refusal(tmp_path: Path) -> None:
    """What the endpoint refuses is a failure, and not a score that could not be read."""
    rows = await shard("4", "2", "5")
    [refused, *_] = await processed(
        await rejudging(tmp_path), rows, scripted(Permanent("refused", kind="content_filter"), "2", "5")
    )
    assert isinstance(refused, Permanent)
