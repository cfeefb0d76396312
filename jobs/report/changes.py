"""The questions on which a model gained or lost most over the base, with everything that a reader needs to judge them.

Averages hide what a model does; twenty pairs of answers show it. They are chosen by the size of the change alone, as
many losses as gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.datasets import Dataset
from jobs.records import Chunk, Context, Pair, Response, Verdict
from jobs.report.comparison import Verdicts, score_of
from jobs.report.data import Change, Passage

__all__ = ["LISTED", "changes", "largest_changes"]

LISTED = 10
_PASSAGES = 5  # of the contexts of one question


class Changed(NamedTuple):
    """The verdicts on two models' answers to one question, and how much higher the second scored."""

    against: Verdict
    model: Verdict
    by: float


class Largest(NamedTuple):
    """The largest first."""

    gains: list[Changed]
    losses: list[Changed]


def changes(verdicts: Verdicts, datasets: Mapping[str, Dataset[Any]], metric: str) -> tuple[list[Change], list[Change]]:
    """The ten largest gains and the ten largest losses of each model but the first, by `metric`; blocks."""
    largest = [largest_changes(verdicts, model, metric) for model in verdicts.models[1:]]
    gains = [changed for each in largest for changed in each.gains]
    losses = [changed for each in largest for changed in each.losses]
    if not gains and not losses:
        return [], []
    texts = _Texts(datasets, [*gains, *losses])
    return [texts.change(changed, metric) for changed in gains], [texts.change(changed, metric) for changed in losses]


def largest_changes(verdicts: Verdicts, model: str, metric: str, count: int = LISTED) -> Largest:
    """The `count` questions on which `model` gained most over the first model, and those on which it lost most.

    They are from the first side of the table: validation if there is any, with retrieval if that was asked. Equal
    changes are in the order of the questions' ids.
    """
    for split, retrieval in verdicts.sides():
        ours, theirs = verdicts.cell(split, retrieval, model), verdicts.cell(split, retrieval, verdicts.models[0])
        changed = [
            Changed(theirs[id_], ours[id_], second - first)
            for id_ in sorted(ours.keys() & theirs.keys())
            if (first := score_of(theirs[id_], metric)) is not None
            and (second := score_of(ours[id_], metric)) is not None
        ]
        if changed:
            return Largest(
                gains=sorted((each for each in changed if each.by > 0), key=lambda each: -each.by)[:count],
                losses=sorted((each for each in changed if each.by < 0), key=lambda each: each.by)[:count],
            )
    return Largest([], [])


class _Texts:
    """The texts behind some verdicts: one pass over responses, pairs and chunks each, only what is needed in memory."""

    def __init__(self, datasets: Mapping[str, Dataset[Any]], shown: list[Changed]) -> None:
        wanted = {verdict.parent for changed in shown for verdict in (changed.against, changed.model)}
        responses: Dataset[Response] = datasets["responses"]
        self._responses = {row.id: row for row in responses.rows() if row.id in wanted}
        asked = {changed.model.pair_id for changed in shown}
        pairs: Dataset[Pair] = datasets["pairs"]
        self._sources = {pair.id: pair.chunk_id for pair in pairs.rows() if pair.id in asked}
        seen = {context.chunk_id for row in self._responses.values() for context in row.contexts}
        chunks: Dataset[Chunk] = datasets["chunks"]
        self._chunks = {chunk.id: chunk for chunk in chunks.rows() if chunk.id in seen}

    def change(self, changed: Changed, metric: str) -> Change:
        before, after = changed.against, changed.model
        answer = self._responses[after.parent]
        return Change(
            model=after.model,
            against=before.model,
            split=after.split,
            metric=metric,
            question=answer.question,
            reference=answer.reference,
            passages=self._passages(after.pair_id, answer.contexts),
            answers=(self._responses[before.parent].response, answer.response),
            scores=(score_of(before, metric) or 0.0, score_of(after, metric) or 0.0),
            feedback=(before.feedback, after.feedback),
        )

    def _passages(self, pair_id: str, contexts: list[Context]) -> list[Passage]:
        source = self._sources.get(pair_id)
        chunks = [self._chunks[context.chunk_id] for context in contexts if context.chunk_id in self._chunks]
        return [
            Passage(title=chunk.title, page=chunk.page_first, text=chunk.text, source=chunk.id == source)
            for chunk in chunks[:_PASSAGES]
        ]
