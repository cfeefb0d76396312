"""All scores of every response, joined from several datasets: one verdict per response.

A missing score affects nothing else: the response keeps its other scores, and the missing one is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.datasets import Dataset
from jobs.evaluation.assess import applies
from jobs.evaluation.judge import verdict
from jobs.records import Assessment, Response, Similarity, Verdict

__all__ = ["joined"]


def joined(
    datasets: Mapping[str, Dataset[Any]], responses: Sequence[Response], metrics: Sequence[str]
) -> list[Verdict]:
    """A verdict for each of `responses`, even if the judge failed, with its similarity and its scores by `metrics`.

    Similarities and assessments may have been made later than the verdict, by a retry or for another metric. Blocks.
    """
    verdicts: Dataset[Verdict] = datasets["verdicts"]
    similarities: Dataset[Similarity] = datasets["similarities"]
    assessments: Dataset[Assessment] = datasets["assessments"]
    judged = {row.parent: row for row in verdicts.rows()}
    similar = {row.parent: row.semantic_similarity for row in similarities.rows()}
    assessed = {(row.parent, row.metric): row.score for row in (assessments.rows() if metrics else ())}
    return [
        msgspec.structs.replace(
            judged.get(response.id) or verdict(response, None, None, ""),
            semantic_similarity=similar.get(response.id),
            scores={metric: assessed.get((response.id, metric)) for metric in metrics if applies(metric, response)},
        )
        for response in responses
    ]
