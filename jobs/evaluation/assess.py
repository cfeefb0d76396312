"""The `assess` job: one row for each response and each metric of ``evaluate.metrics``.

A metric that needs a model makes one request per row; if the judge's answer cannot be read, the row is unscored. It is
a job of its own so that a metric that is switched on later adds rows and makes none stale. Rows stay when their metric
is switched off, because they may have been paid for.
"""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.job import Item, Job, Prepared, ShardRows
from engine.records import Record, make_id
from engine.requests import Call
from jobs.evaluation.asked import Shows
from jobs.evaluation.grounding import SUPPORT, Finding, support
from jobs.evaluation.lexical import LEXICAL
from jobs.evaluation.score_parser import scored
from jobs.records import Assessment, Response
from jobs.retrieval.index import Retriever
from jobs.run.background_imports import imported

__all__ = ["Assessor", "applies", "check_metrics"]

_PLUGGED_IN = "llama:"
_EVALUATOR = re.compile(r"llama:(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*", re.ASCII)


def check_metrics(metrics: Iterable[str]) -> None:
    """Raise `BadInput` for a name that is neither a metric of ours nor ``llama:CLASS``."""
    known = (*LEXICAL, *SUPPORT)
    for metric in metrics:
        if metric not in known and not _EVALUATOR.fullmatch(metric):
            near = difflib.get_close_matches(metric, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)} and llama:CLASS"
            raise BadInput(f"configuration: evaluate.metrics: there is no metric {metric!r}; {hint}")


def applies(metric: str, response: Response) -> bool:
    """Whether `metric` applies to `response`: some metrics need contexts."""
    return metric not in SUPPORT or bool(response.contexts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One response and one metric. ``texts`` holds, by id, the chunks of its contexts that are in its own shard."""

    id: str
    metric: str
    response: Response
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Assessor:
    """Scores every response for which `shows` is true by each of `metrics`; `written` is the dataset of its rows.

    `max_tokens` bounds what the judge answers.
    """

    metrics: Sequence[str]
    shows: Shows
    written: Dataset[Assessment]
    retriever: Retriever
    max_tokens: int
    _there: dict[str, str] = field(default_factory=dict, init=False)

    def job(self, *, fingerprint: Mapping[str, Any], slots: int) -> Job:
        return Job(
            name="assess",
            reads=("responses", "chunks"),
            writes="assessments",
            row=Assessment,
            expand=self.expand,
            process=self.process,
            origin=lambda row: row.id,
            prepare=self.prepare,
            prepared=Prepared(dump=lambda: self._there, load=self._there.update),
            variant=lambda: make_id(*self.metrics),
            fingerprint=fingerprint,
            keeps=True,
            slots=slots,
        )

    async def prepare(self) -> None:
        """Raises `BadInput` for an evaluator that LlamaIndex does not have, before anything is asked."""
        for metric in self.metrics:
            if metric.startswith(_PLUGGED_IN):
                (await imported("jobs.evaluation.llama_evaluators")).evaluator_class(metric)
        self._there.update(await asyncio.to_thread(lambda: {row.id: row.metric for row in self.written.rows()}))

    def expand(self, shard: ShardRows) -> Iterator[Item]:
        kept = sorted(set(self._there.values()) - set(self.metrics))
        for asked in _cells(shard, [*self.metrics, *kept]):
            wanted = asked.metric in self.metrics and applies(asked.metric, asked.response)
            if asked.id in self._there or (wanted and self.shows(asked.response)):
                yield Item(id=asked.id, value=asked)

    async def process(self, asked: _Cell, call: Call) -> Sequence[Record]:
        finding, unscored = await scored(self._find(asked, call))
        return [_row(asked, finding or Finding(score=None, feedback=unscored))]

    async def _find(self, asked: _Cell, call: Call) -> Finding:
        metric, response = asked.metric, asked.response
        if metric in LEXICAL:
            return Finding(score=round(LEXICAL[metric](response.response, response.reference), 6))
        contexts = await _contexts(asked, self.retriever)
        if metric in SUPPORT:
            return await support(metric, call, response, contexts, max_tokens=self.max_tokens)
        evaluators: Any = await imported("jobs.evaluation.llama_evaluators")
        found: Finding = await evaluators.evaluate(metric, call, response, contexts, max_tokens=self.max_tokens)
        return found


def _cells(shard: ShardRows, metrics: Sequence[str]) -> Iterator[_Cell]:
    chunks = {chunk.id: chunk.text for chunk in shard["chunks"]}
    for response in shard["responses"]:
        texts = {each.chunk_id: chunks[each.chunk_id] for each in response.contexts if each.chunk_id in chunks}
        for metric in metrics:
            yield _Cell(id=make_id("assessment", response.id, metric), metric=metric, response=response, texts=texts)


def _row(asked: _Cell, finding: Finding) -> Assessment:
    response = asked.response
    return Assessment(
        id=asked.id,
        parent=response.id,
        pair_id=response.pair_id,
        model=response.model,
        metric=asked.metric,
        score=finding.score,
        passing=finding.passing,
        feedback=finding.feedback,
        split=response.split,
    )


async def _contexts(asked: _Cell, retriever: Retriever) -> list[str]:
    """The texts of all contexts, in their order. Pairs from a file bring their texts and have no vector store."""
    ids = [context.chunk_id for context in asked.response.contexts]
    elsewhere = [id_ for id_ in ids if id_ not in asked.texts]
    found = dict(zip(elsewhere, await retriever.texts(elsewhere), strict=True)) if elsewhere else {}
    return [asked.texts.get(id_) or found[id_] for id_ in ids]
