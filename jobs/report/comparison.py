"""The figures of the verdicts: the table's rows, the models' paired differences, the distribution of scores.

A *cell* is one model's verdicts on one split, with retrieval or without. Two cells are compared over the questions that
both have; a question that lacks a score in one of them is counted, and is in neither mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jobs.records import Verdict
from jobs.report.data import METRICS, SPLITS, Comparison, Histogram, Row, Scatter
from jobs.report.intervals import Difference, Mean, mean, paired_difference

__all__ = ["Cell", "Verdicts", "score_of"]

Range = tuple[float, float]

_TIE = 0.01  # of the scale: a difference that small is neither won nor lost


class Cell(NamedTuple):
    """A verdict's place in the table."""

    split: str
    retrieval: bool
    model: str


class Verdicts:
    """All verdicts on some models, in cells; validation comes first, and within a split the answers with retrieval.

    `asked` is the number of answers that each cell should have: answers without a verdict, because answering or judging
    failed, count as unscored. Verdicts on other models are left out. `seed` is the seed of all intervals.
    """

    def __init__(
        self,
        verdicts: Iterable[Verdict],
        models: Sequence[str],
        *,
        asked: Mapping[Cell, int] | None = None,
        correctness_range: Range = (1.0, 5.0),
        seed: int = 0,
    ) -> None:
        self.models = list(models)
        self._cells: dict[Cell, dict[str, Verdict]] = {}
        for verdict in verdicts:
            cell = Cell(verdict.split, verdict.retrieval, verdict.model)
            self._cells.setdefault(cell, {})[verdict.pair_id] = verdict
        self._asked = asked or {}
        self._correctness_range = correctness_range
        self._seed = seed
        extra = (name for cell in self._cells.values() for verdict in cell.values() for name in verdict.scores)
        self.metrics = [*METRICS, *dict.fromkeys(extra)]

        self._scales = {metric: self._seen(metric) for metric in self.metrics} | {
            "correctness": correctness_range,
            "semantic_similarity": (-1.0, 1.0),
        }

    def cell(self, split: str, retrieval: bool, model: str) -> dict[str, Verdict]:
        """The verdicts of one cell by the id of their pair."""
        return self._cells.get(Cell(split, retrieval, model), {})

    def sides(self) -> list[tuple[str, bool]]:
        """Each split, with or without retrieval, that has verdicts, in the order of the table."""
        seen = {(cell.split, cell.retrieval) for cell in self._cells}
        order = [*SPLITS, *sorted({split for split, _ in seen} - SPLITS.keys())]
        return sorted(seen, key=lambda side: (order.index(side[0]), not side[1]))

    def evaluated(self) -> int:
        """How many pairs have a verdict on at least one model's answer."""
        return len({id_ for cell in self._cells.values() for id_ in cell})

    def rows(self) -> list[Row]:
        """One row for each side that has verdicts and each model, as given."""
        return [self._row(Cell(split, retrieval, model)) for split, retrieval in self.sides() for model in self.models]

    def differences(self) -> list[Comparison]:
        """Each other model minus the first, on each side."""
        return [
            self._compared(
                Cell(split, retrieval, model),
                Cell(split, retrieval, self.models[0]),
                name=f"{model} − {self.models[0]}, {_side(split, retrieval)}",
            )
            for split, retrieval in self.sides()
            for model in self.models[1:]
        ]

    def retrieval_effects(self) -> list[Comparison]:
        """Each model with retrieval minus itself without, on each split that has answers of both kinds."""
        both = [split for split, retrieval in self.sides() if not retrieval and (split, True) in self.sides()]
        return [
            self._compared(
                Cell(split, True, model),
                Cell(split, False, model),
                name=f"{model} with − without retrieval, {SPLITS.get(split, split)}",
            )
            for split in both
            for model in self.models
            if self.cell(split, True, model).keys() & self.cell(split, False, model).keys()
        ]

    def histograms(self) -> list[Histogram]:
        """The scores behind `rows`, in their order, first all of correctness, then all of similarity.

        A 1–5 scale has a bin around each half point; a scale from 0 to 1 and the cosine have twenty bins.
        """
        edges = {"correctness": _edges(*self._correctness_range), "semantic_similarity": _edges(0.0, 1.0)}
        return [
            _histogram(
                self.cell(split, retrieval, model).values(), metric, Cell(split, retrieval, model), edges[metric]
            )
            for metric in METRICS
            for split, retrieval in self.sides()
            for model in self.models
        ]

    def scatters(self) -> list[Scatter]:
        """Each question's scores by the first model and by another, if any question has both."""
        made = [
            self._scatter(metric, Cell(split, retrieval, model))
            for metric in METRICS
            for split, retrieval in self.sides()
            for model in self.models[1:]
        ]
        return [scatter for scatter in made if scatter.points]

    def _row(self, cell: Cell) -> Row:
        name = f"{cell.model}, {_side(cell.split, cell.retrieval)}"
        means = {metric: self._mean(cell, metric) for metric in self._said_of(cell)}
        named = {metric: means.pop(metric) for metric in METRICS}
        scored = [each for each in self.cell(*cell).values() if any(score_of(each, m) is not None for m in METRICS)]
        return Row(
            name=name,
            model=cell.model,
            split=cell.split,
            retrieval=cell.retrieval,
            metrics=means,
            papers=len({verdict.paper_id for verdict in scored}),
            **named,
        )

    def _said_of(self, cell: Cell) -> list[str]:
        """The metrics that apply to a cell: some need contexts."""
        verdicts = self.cell(*cell).values()
        return [metric for metric in self.metrics if metric in METRICS or not verdicts or metric in _extra(verdicts)]

    def _mean(self, cell: Cell, metric: str) -> Mean:
        verdicts = self.cell(*cell).values()
        missing = max(0, self._asked.get(cell, 0) - len(verdicts))
        return mean(
            [score_of(verdict, metric) for verdict in verdicts] + [None] * missing,
            [verdict.paper_id for verdict in verdicts] + [""] * missing,
            bounds=self.scale(metric),
            seed=self._seed,
        )

    def _compared(self, cell: Cell, other: Cell, *, name: str) -> Comparison:
        return Comparison(
            name=name,
            model=cell.model,
            against=other.model,
            split=cell.split,
            retrieval=cell.retrieval,
            metrics={
                metric: self._difference(cell, other, metric)
                for metric in self._said_of(cell)
                if metric in self._said_of(other)
            },
        )

    def _difference(self, cell: Cell, other: Cell, metric: str) -> Difference:
        ours, theirs = self.cell(*cell), self.cell(*other)
        papers = {id_: verdict.paper_id for id_, verdict in (theirs | ours).items()}
        pairs = [(_score(ours.get(id_), metric), _score(theirs.get(id_), metric)) for id_ in papers]
        missing = max(0, self._asked.get(cell, 0) - len(papers))
        low, high = self.scale(metric)
        return paired_difference(
            pairs + [(None, None)] * missing,
            [*papers.values()] + [""] * missing,
            bounds=(low, high),
            tie=_TIE * (1.0 if metric == "semantic_similarity" else high - low),
            seed=self._seed,
        )

    def _scatter(self, metric: str, cell: Cell) -> Scatter:
        ours, theirs = self.cell(*cell), self.cell(cell.split, cell.retrieval, self.models[0])
        points = Counter(
            (round(first, 2), round(second, 2))
            for id_, verdict in ours.items()
            if (second := score_of(verdict, metric)) is not None
            and (first := _score(theirs.get(id_), metric)) is not None
        )
        return Scatter(
            metric=metric,
            model=cell.model,
            against=self.models[0],
            split=cell.split,
            retrieval=cell.retrieval,
            points=[(*point, count) for point, count in sorted(points.items())],
        )

    def _seen(self, metric: str) -> Range:
        verdicts = (verdict for cell in self._cells.values() for verdict in cell.values())
        scores = [score for verdict in verdicts if (score := score_of(verdict, metric)) is not None]
        return min([0.0, *scores]), max([1.0, *scores])

    def scale(self, metric: str) -> Range:
        """The least and the greatest score of `metric`: 0 and 1, wider if an evaluator has gone beyond."""
        return self._scales.get(metric, (0.0, 1.0))


def score_of(verdict: Verdict, metric: str) -> float | None:
    """A verdict's score by the metric's name; None if it has none."""
    if metric in METRICS:
        score: float | None = getattr(verdict, metric)
        return score
    return verdict.scores.get(metric)


def _score(verdict: Verdict | None, metric: str) -> float | None:
    return None if verdict is None else score_of(verdict, metric)


def _extra(verdicts: Iterable[Verdict]) -> set[str]:
    return {name for verdict in verdicts for name in verdict.scores}


def _side(split: str, retrieval: bool) -> str:
    return SPLITS.get(split, split) + ("" if retrieval else ", no retrieval")


def _histogram(verdicts: Iterable[Verdict], metric: str, cell: Cell, edges: list[float]) -> Histogram:
    scores = [score for verdict in verdicts if (score := score_of(verdict, metric)) is not None]
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return Histogram(
        metric=metric,
        model=cell.model,
        split=cell.split,
        retrieval=cell.retrieval,
        edges=edges,
        counts=counts.tolist(),
    )


def _edges(low: float, high: float) -> list[float]:
    """Bins around half points on a scale of some points (1 to 5), else twentieths of the range."""
    if high - low > 1:
        return [low - 0.25 + 0.5 * step for step in range(round((high - low) * 2) + 2)]
    return [round(low + (high - low) * step / 20, 6) for step in range(21)]
